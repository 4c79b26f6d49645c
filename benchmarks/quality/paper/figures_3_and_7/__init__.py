"""Figures 3 and 7: from greedy to conservative actions as 1/beta grows, on six densities.

A diffusion model is fit to each density; Q is minus the squared distance to a point of a grid, one
after the other; the actions climb Q under Eq. 10 from that point, for every temperature. The six
models are one network, and all points and temperatures one batch.
"""

from benchmarks.quality.paper.figures_3_and_7.experiment import FULL, QUICK, measure
from benchmarks.quality.paper.figures_3_and_7.pictures import draw
from benchmarks.quality.paper.figures_3_and_7.tables import table

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]
