"""Propositions 1 and 2 in one dimension, by quadrature: where they hold, and where not.

The behavior is a mixture of two Gaussians, whose diffused density is exact.

Proposition 1: for three families of policies, the one that minimises KL[pi_t || mu_t] at each t.
Proposition 2: the gradient of the regulariser in Eq. 16, by quadrature, beside that of Eq. 15; and,
for a Gaussian policy, whose standard deviation Eq. 15 does not know, the gradient in it.
"""

from benchmarks.quality.paper.propositions.experiment import FULL, QUICK, measure
from benchmarks.quality.paper.propositions.pictures import draw
from benchmarks.quality.paper.propositions.tables import table

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]
