"""The settings of a run that depend on its data."""

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeVar

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.configuration import differences, to_dict
from scoreregs_offline_rl.data.bounds import action_bounds_of
from scoreregs_offline_rl.data.download import DownloadProgress
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.scaling import RewardScaling
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import spaces_of
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.presets import beta_for
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.registry import actors_of

__all__ = ["complete", "data_of", "resolve"]

logger = logging.getLogger(__name__)

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


C = TypeVar("C", bound=TrainConfig)


def complete(config: C) -> C:
    """Returns a configuration whose policies all have steps and sizes, if not own, the policy's.

    Example:
        >>> from scoreregs_offline_rl import PolicyConfig
        >>> complete(TrainConfig("a.npz", policy=PolicyConfig(steps=5))).awr.steps
        5
    """
    usual = {name: getattr(config.policy, name) for name in ("steps", "layers", "width")}
    filled: dict[str, Any] = {}
    for name in actors_of(config.stages()):
        own = getattr(config, name)
        missing = {key: value for key, value in usual.items() if getattr(own, key) is None}
        filled[name] = replace(own, **missing)
    return replace(config, **filled)


def data_of(
    config: TrainConfig, given: Transitions | None, *, begun: bool, progress: DownloadProgress
) -> Transitions:
    """Returns the data of a run: what is given in memory, else what the configuration names.

    Args:
        config: as the user gave it.
        given: transitions in memory, if any.
        begun: whether the run has begun, so that a digest of its data is compared.
        progress: told how far a download is.

    Raises:
        ArgumentError: what is given is something else, or is there already while the configuration
            says how to read it.
        DataError: the data cannot be read.
    """
    if given is None:
        return load_data(config.data, config.loading, progress=progress)
    if not isinstance(given, Transitions):
        raise ArgumentError(
            f"got data of type {type(given).__name__}, expected Transitions: make them with "
            "Transitions.from_arrays or load_data, or name a file in the configuration"
        )
    # Where to download from says nothing of how to read.
    usual = replace(LoadingConfig(), mirrors=config.loading.mirrors)
    changes = differences(to_dict(usual), to_dict(config.loading))
    if changes and not begun:
        now = [change.removesuffix(" now").split(" before, ")[-1] for change in changes]
        names = [f"loading.{change.split(':')[0]}" for change in changes]
        shown = ", ".join(f"{name} = {value}" for name, value in zip(names, now, strict=True))
        raise ArgumentError(
            f"got {shown}, for reading a file, and data in memory ({given.source}), expected one "
            f"of the two: leave data out, so that {config.data!r} is read so, or give what "
            "load_data read so and leave the setting out of the configuration"
        )
    return given


def resolve(config: C, data: Transitions, stages: Collection[str] | None = None) -> C:
    """Returns a configuration with temperature, environment, scalings, bounds and sizes given.

    Args:
        config: as the user gave it.
        data: unscaled.
        stages: those that it is for, None: all; only some need a temperature.

    Raises:
        RunError: no temperature is given, and none is known for the data.
        ArgumentError: the environment that the user names cannot be made.
        DataError: no bounds are given or known, and an action never changes.
    """
    known = config.stages()
    beta, chosen = config.beta, PolicyStage.chooses_beta(config.policy)
    followers = {name for name in stages or known if known[name].follows_beta}
    if beta is None and not chosen:
        beta = beta_for(config.data, config.policy)
    if beta is None and followers - ({PolicyStage.name} if chosen else set()):
        raise RunError(_no_temperature(config))
    environment, bounds = _environment(config, data)
    if config.action_low is not None and config.action_high is not None:
        size = data.actions.shape[1]
        bounds = _each(config.action_low, size), _each(config.action_high, size)
    low, high = bounds or action_bounds_of(data)
    return replace(
        complete(config),
        beta=beta,
        rewards=config.rewards or RewardScaling.usual(data),
        action_low=low,
        action_high=high,
        evaluation=replace(config.evaluation, environment=environment),
    )


def _no_temperature(config: TrainConfig) -> str:
    start = f"got no temperature for {config.data!r}, and Table 2 of the paper knows none"
    if config.policy.normalize is None:
        return (
            f"{start}: give --beta. It trades value for likelihood: 0.01 stays with the data, as "
            "good data wants it, 0.5 follows the value, as mixed data wants it; sweep 0.01, 0.02, "
            "0.05, 0.1, 0.2, 0.5, and take the largest that passes the policy check (rewards "
            "scaled by their return range)"
        )
    return (
        f"{start} for this form of Eq. 15: give --beta. It is relative to the value's gradient: "
        "sweep 0.02 to 0.08, and take the largest that passes the policy check; or have the run "
        "choose: --policy.start cloning --policy.beta-choices 0.03 0.1 0.3"
    )


def _environment(config: TrainConfig, data: Transitions) -> tuple[str | None, Bounds | None]:
    """Returns the environment, if there is one, and its action bounds."""
    named = config.evaluation.environment or data.environment
    if named is None:
        logger.info("no environment is known, so policies are checked but not evaluated")
        return None, None
    try:
        observations, low, high = spaces_of(named)
        _check_sizes(named, (observations, len(low)), data)
    except (ArgumentError, MissingDependencyError) as error:
        if config.evaluation.environment is not None:
            raise
        logger.warning("policies are checked but not evaluated: %s", error)
        return None, None
    return named, (tuple(low.tolist()), tuple(high.tolist()))


def _check_sizes(environment: str, sizes: tuple[int, int], data: Transitions) -> None:
    """Raises where policies of the data cannot act in an environment, before they are trained."""
    for what, size, own in zip(
        ("observations", "actions"), sizes, (data.observations, data.actions), strict=True
    ):
        if size != own.shape[1]:
            raise ArgumentError(
                f"got the environment {environment} with {what} of {size} numbers for data with "
                f"{own.shape[1]}, expected that of the data: name it with --evaluation.environment"
            )


def _each(bound: tuple[float, ...], size: int) -> tuple[float, ...]:
    """Returns one bound for each of `size` dimensions."""
    if len(bound) not in (1, size):
        raise ArgumentError(
            f"got {len(bound)} bounds of the actions, expected 1 or {size}: change action_low and "
            "action_high"
        )
    return bound * (size // len(bound))
