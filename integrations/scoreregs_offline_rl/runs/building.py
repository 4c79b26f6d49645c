"""Stages with their initial weights, given what the finished ones before them offer."""

from collections.abc import Mapping
from typing import Any

from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.registry import Stages
from scoreregs_offline_rl.stages.stage import Context, Given, PriorStage, Stage, ValueStage

__all__ = ["build", "give"]


def build(
    kind: type[Stage[Any]], config: TrainConfig, sizes: tuple[int, int], given: Given
) -> Stage[Any]:
    """Returns a stage with the initial weights of the configuration's seed.

    Args:
        kind: its class.
        config: of the run, complete.
        sizes: numbers of observation and action dimensions.
        given: see `give`.
    """
    settings = getattr(config, kind.name)
    beta = config.beta if kind.follows_beta else None
    context = Context(*sizes, settings, Given(given.value, given.prior, beta))
    with seeded(config.seed, kind.initial_stream()):
        return kind.build(context)


def give(kind: type[Stage[Any]], stages: Stages, finished: Mapping[str, Stage[Any]]) -> Given:
    """Returns what a stage is given out of the finished ones.

    Args:
        kind: its class.
        stages: of the configuration.
        finished: by name; what is needed and not there is not given.
    """
    value = prior = None
    for need in kind.needs:
        source = finished.get(stages.provider(need).name)
        if isinstance(source, ValueStage):
            value = source.value
        if isinstance(source, PriorStage):
            prior = source.prior
    return Given(value, prior)
