"""Stages with their initial weights, to time their steps."""

from typing import Any

from scoreregs_offline_rl import Stage, TrainConfig
from scoreregs_offline_rl.runs.building import untrained
from scoreregs_offline_rl.runs.resolution import complete
from scoreregs_offline_rl.stages.registry import with_needs

__all__ = ["fresh_stage"]


def fresh_stage(
    name: str, config: TrainConfig, sizes: tuple[int, int], device: str = "cpu"
) -> Stage[Any]:
    """Returns a stage that builds on stages of its own, which are as untrained as it is.

    Args:
        name: of the stage.
        config: of a run; it has a temperature if the stage needs one.
        sizes: numbers of observation and action dimensions.
        device: where all of them are.
    """
    stages = config.stages()
    found = untrained(complete(config), with_needs(stages, {name}, config), sizes)
    for stage in found.values():
        stage.to(device)
    return found[name]
