"""The runs of benchmarks are drawn nowhere: what they make of many runs is looked at."""

from tests.pictures import no_pictures

__all__ = ["no_pictures"]
