"""What stages build on, and whether it is there: finished before, trained with them, or given."""

from collections.abc import Collection

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.training.stage_files import is_finished

__all__ = ["check_needs", "given_weights"]


def check_needs(config: TrainConfig, directory: RunDirectory, names: Collection[str]) -> None:
    """Raises `RunError` unless every stage will find the finished stages that it builds on."""
    stages = config.stages()
    for name in names:
        needs = stages[name].needs_for(getattr(config, name))
        for needed in (stages.provider(need).name for need in needs):
            given = needed in names or given_weights(config, needed) is not None
            if not given and not is_finished(directory.stage(needed)):
                takes = hasattr(getattr(config, needed), "weights")
                raise RunError(
                    f"got the {name} stage, which needs a finished {needed}, and none in "
                    f"{directory.path}: train the {needed} stage there first"
                    + (f", or give --{needed}.weights" if takes else "")
                )


def given_weights(config: TrainConfig, name: str) -> str | None:
    """Returns the finished weights that a stage is given, if its settings know such."""
    return getattr(getattr(config, name), "weights", None)
