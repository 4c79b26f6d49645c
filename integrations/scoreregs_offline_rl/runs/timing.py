"""How long a run takes, measured before it, and how many steps it takes in a given time."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, TypeVar

from accelerate import PartialState

from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.division import seeds_of_parts
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.plan import Plan, duration
from scoreregs_offline_rl.runs.scaled import ScaledData
from scoreregs_offline_rl.stages.registry import actors_of
from scoreregs_offline_rl.tasks import environment_for
from scoreregs_offline_rl.training.acceleration import make_accelerator
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.rehearsal import Rehearsal

__all__ = ["measure", "planned", "within_minutes"]

C = TypeVar("C", bound=TrainConfig)

MOST_TIMES = 4
"""So many times the steps that settings ask for are the most that `minutes` makes of them."""
_FEWEST_STEPS, _FEWEST_SHARE = 500, 0.1
# What steps do not take: checks and checkpoints, and a machine that is busier later.
_STEPS_SHARE = 0.85
_ACTING_SECONDS, _ENVIRONMENT_SECONDS = 1e-4, 0.1


def measure(
    config: TrainConfig,
    data: ScaledData,
    directory: RunDirectory,
    names: Collection[str],
    grid: SweepGrid | None = None,
) -> Plan:
    """Returns how long the stages take that are not finished, after a few steps of each.

    The steps are taken by copies that are thrown away: no file is written, and what a training
    draws, and becomes, is the same after it.

    Args:
        config: resolved.
        data: scaled, on the CPU.
        directory: of the run or sweep; it need not exist.
        names: the stages to train.
        grid: the members of a sweep; None: a run.

    Raises:
        RunError: as of the training, before its first step.
    """
    accelerator = make_accelerator(config.trainer, directory.path)
    parts = {} if grid is None else seeds_of_parts(directory, grid)
    rehearsal = Rehearsal(accelerator, config.trainer, seed=config.seed, parts=parts)
    placed = replace(data, transitions=data.transitions.to(accelerator.device))
    Pipeline(config, placed, rehearsal, directory, grid).train(names)
    evaluation = _evaluation_seconds(config, names, 1 if grid is None else len(grid.labels))
    return Plan(tuple(rehearsal.timings), evaluation, config.minutes)


def planned(
    config: C,
    data: ScaledData,
    directory: RunDirectory,
    names: Collection[str],
    *,
    told: Callable[[Plan], None] | None,
    start: float,
    grid: SweepGrid | None = None,
) -> C:
    """Returns a configuration with the steps that its `minutes` allow, and tells what they take.

    Where there is nobody to tell, and no steps to choose or they were chosen before, nothing is
    measured.

    Args:
        config: as of `measure`, like the next three and `grid`.
        data: see there.
        directory: see there.
        names: see there.
        told: told the plan, in the main process; every process has to give it, or none.
        start: of the run, by `time.perf_counter`.
        grid: see there.
    """
    before = _chosen_before(config, directory)
    fresh, config = config.minutes is not None and before is None, before or config
    if not fresh and told is None:
        return config
    plan = measure(config, data, directory, names, grid)
    if fresh:
        config = within_minutes(config, plan, time.perf_counter() - start)
        plan = plan.with_steps({name: getattr(config, name).steps for name in config.stages()})
    with together():
        if told is not None and PartialState().is_main_process:
            told(plan)
    return config


def _chosen_before(config: C, directory: RunDirectory) -> C | None:
    """Returns a configuration with the steps that its `minutes` came to before; None: never yet."""
    if config.minutes is None or not directory.holds_run():
        return None
    before: Any = directory.read_config()
    if before.minutes != config.minutes:
        return None
    stages = {
        name: replace(getattr(config, name), steps=getattr(before, name).steps)
        for name in config.stages()
    }
    return replace(config, **stages)


def within_minutes(config: C, plan: Plan, spent: float) -> C:
    """Returns a configuration whose stages take no longer than its `minutes` together.

    All steps that are left are changed by one factor, at most `MOST_TIMES`: the proportions between
    the stages stay. Rates that decay do so over the new steps.

    Args:
        config: resolved, with `minutes`.
        plan: of its own steps.
        spent: seconds that have passed already.

    Raises:
        RunError: there is no time for steps that could teach anything.
    """
    open_stages = [stage for stage in plan.stages if stage.done == 0]
    training = sum(stage.seconds for stage in open_stages)
    if config.minutes is None or not training:
        return config
    other = plan.seconds - training + spent
    factor = (_STEPS_SHARE * 60 * config.minutes - other) / training
    fewest = max(min(_FEWEST_STEPS / stage.steps, _FEWEST_SHARE) for stage in open_stages)
    if factor < fewest:
        least = (fewest * training + other) / _STEPS_SHARE / 60
        raise RunError(
            f"got --minutes {config.minutes:g}, expected at least {least + 0.05:.1f}: on this "
            f"machine the fewest steps that can teach anything, {_FEWEST_STEPS} of a stage or a "
            f"tenth of a short one, take {duration(fewest * training)}, evaluation and the rest "
            f"{duration(other)}"
        )
    factor = min(factor, MOST_TIMES)
    changed = {
        stage.name: replace(getattr(config, stage.name), steps=max(1, int(factor * stage.steps)))
        for stage in open_stages
    }
    return replace(config, **changed)


def _evaluation_seconds(config: TrainConfig, names: Collection[str], members: int) -> float:
    """Returns what the policies' roll-outs take if every episode is as long as it may be."""
    wanted, stages = config.evaluation, config.stages()
    trained = [name for name in actors_of(stages) if name in names]
    if wanted.environment is None or wanted.episodes == 0 or not trained:
        return 0.0
    made: Any = make_environment(environment_for(wanted.environment))
    try:
        made.reset(seed=wanted.seed)
        space, steps, start = made.action_space, 0, time.perf_counter()
        while time.perf_counter() - start < _ENVIRONMENT_SECONDS:
            _, _, terminated, truncated, _ = made.step((space.low + space.high) / 2)
            steps += 1
            if terminated or truncated:
                made.reset()
        step = (time.perf_counter() - start) / steps
        longest = made.spec.max_episode_steps
    finally:
        made.close()
    times = sum(1 + _curve_points(config, name) for name in trained)
    return times * members * longest * (wanted.episodes * step + _ACTING_SECONDS)


def _curve_points(config: TrainConfig, name: str) -> int:
    """Returns how often policies of a stage are evaluated while they train."""
    every = config.evaluation.every
    return getattr(config, name).steps // every if every else 0
