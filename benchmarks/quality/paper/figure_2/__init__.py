"""Figure 2: three ways to extract a policy in a bandit, and how often each leaves the data.

The data are eight Gaussians on a circle. The value has two humps, and both peaks lie off the data,
in the middle of a gap between two modes. The optimum of Eq. 1, mu exp(beta Q), is approached by

- a Gaussian under forward KL: weighted regression, Eq. 2, whose maximum is the weighted mean and
  covariance of the data;
- a diffusion model under forward KL: trained on data drawn again in proportion to exp(beta Q),
  which is weighted regression in expectation, and sampled through the probability-flow ODE;
- a Dirac policy under reverse KL, from many starts, in three forms: Eq. 10, Eq. 15 as the paper
  sets it, and Eq. 15 over the noise levels that are no wider than a gap.
"""

from benchmarks.quality.paper.figure_2.experiment import FULL, QUICK, measure
from benchmarks.quality.paper.figure_2.pictures import draw
from benchmarks.quality.paper.figure_2.tables import table

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]
