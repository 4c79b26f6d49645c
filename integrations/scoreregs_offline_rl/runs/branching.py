"""A new run that begins with what another run has finished and its own settings leave as it is."""

import shutil
from dataclasses import replace
from typing import Any, TypeVar

from scoreregs_offline_rl.configuration import differences, to_dict
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import GRID, RunDirectory, bears_on
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.training.stage_files import is_finished

__all__ = ["take_over"]

C = TypeVar("C", bound=TrainConfig)


def take_over(source: RunDirectory, directory: RunDirectory, config: C, data: Transitions) -> C:
    """Copies finished stages into a new run's directory, and returns its configuration.

    Those are copied that would be trained to the same weights: no setting that bears on them has
    another value, nor on what they build on. A stage that is given more steps is trained from its
    start, since its learning rate may depend on how many there are. Where the new run is given no
    temperature, and keeps a policy at one that the source has chosen, it has that one too.

    Args:
        source: of the finished run.
        directory: of the new one.
        config: of the new one, resolved.
        data: unscaled; that of both.

    Raises:
        RunError: the source holds no run, or one of other data, or no stage can be kept.
    """
    if (source.path / GRID).exists():
        raise RunError(
            f"got --from {source.path}, which holds a sweep, expected a run: name one of its "
            "members with --critic.weights and --behavior.weights, or sweep again"
        )
    before = source.read_config()
    source.check_data(data)
    stages, chosen = config.stages(), source.chosen_beta()
    open_choice = config.beta is None and chosen is not None
    compared = replace(config, beta=before.beta) if open_choice else config
    changed = _changed(before, compared)
    for name, stage in stages.items():
        needs = stage.needs_for(getattr(config, name))
        if any(stages.provider(need).name in changed for need in needs):
            changed.add(name)
    kept = [n for n in stages if n not in changed and is_finished(source.stage(n))]
    if not kept:
        raise RunError(
            f"got --from {source.path}, of which no finished stage is left with these settings, "
            "expected at least one: leave --from out, or change fewer settings"
        )
    for name in kept:
        place = directory.path / name
        if not place.exists():
            partial = place.with_name(f".{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(
                source.stage(name), partial, ignore=shutil.ignore_patterns("checkpoints")
            )
            partial.rename(place)
    return compared if open_choice and PolicyStage.name in kept else config


def _changed(before: TrainConfig, config: TrainConfig) -> set[str]:
    """Returns the stages that a setting with another value bears on."""
    old, new = _settings(before), _settings(config)
    names = [change.split(":")[0] for change in differences(old, new)]
    return {stage for name in names for stage in bears_on(name, config.stages())}


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Returns what decides the weights: the steps, but not the time that they were chosen for."""
    return to_dict(config) | {"minutes": None}
