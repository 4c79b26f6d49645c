"""Stages with their initial weights, given what the finished ones before them offer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from scoreregs_offline_rl.data.episode_weights import row_weights
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.probe import Probes
from scoreregs_offline_rl.stages.stacking import StackedPrior, StackedValue, stack
from scoreregs_offline_rl.stages.stage import Context, Given, PriorStage, Stage, ValueStage

__all__ = ["build", "give", "member_label", "probes_of", "stacked", "untrained", "weights_of"]


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
    context = Context(*sizes, settings, replace(given, beta=beta))
    with seeded(config.seed, kind.initial_stream()):
        return kind.build(context)


def give(kind: type[Stage[Any]], config: TrainConfig, finished: Mapping[str, Stage[Any]]) -> Given:
    """Returns what a stage is given out of the finished ones.

    Args:
        kind: its class.
        config: of the run.
        finished: by name; what is needed and not there is not given.
    """
    value = prior = start = None
    stages = config.stages()
    for need in kind.needs_for(getattr(config, kind.name)):
        source = finished.get(stages.provider(need).name)
        if isinstance(source, ValueStage):
            value = source.value
        if isinstance(source, PriorStage):
            prior = source.prior
        if isinstance(source, ActorStage):
            start = source.policy.state_dict()
    return Given(value, prior, start=start)


def untrained(
    config: TrainConfig, names: Iterable[str], sizes: tuple[int, int]
) -> dict[str, Stage[Any]]:
    """Returns stages by name that build on each other, none of them trained.

    Args:
        config: of a run, complete.
        names: in the order of training.
        sizes: numbers of observation and action dimensions.
    """
    found: dict[str, Stage[Any]] = {}
    for kind in (config.stages()[name] for name in names):
        found[kind.name] = build(kind, config, sizes, give(kind, config, found))
    return found


def stacked(members: Sequence[Stage[Any]], given: Given, seeds: int | None) -> Stage[Any]:
    """Returns the members of a stage as one, on what the finished stages of all seeds give.

    Args:
        members: seeds first.
        given: by the stacked stages, with the temperatures of each seed, (betas,), if any.
        seeds: how many those stages have; None where they are not stacked.
    """
    joint, value, prior, betas = stack(members), given.value, given.prior, given.beta
    if seeds is not None:
        value = None if value is None else StackedValue(value, seeds)
        prior = None if prior is None else StackedPrior(prior, seeds)
    if isinstance(betas, Tensor):
        betas = betas.repeat(len(members) // len(betas))
    joint.receive(Given(value, prior, betas))
    return joint


def member_label(
    grid: SweepGrid | None, kind: type[Stage[Any]], config: int, policy: int, policies: int
) -> str:
    """Returns what tells a member's metrics apart; nothing where there is one.

    Args:
        grid: of a sweep; None: a run.
        kind: its class.
        config: place of the member's configuration in the grid.
        policy: place among the policies that act by their mean.
        policies: how many there are.
    """
    own = f"policy-{policy}" if policies > 1 else ""
    if grid is None:
        return own
    seed = grid.seed_labels[config // len(grid.betas)]
    return "_".join(filter(None, (grid.labels[config] if kind.follows_beta else seed, own)))


def weights_of(settings: Any, data: Transitions) -> Tensor | None:
    """Returns how often a stage of some settings draws each row, (N,); None: all alike."""
    share = getattr(settings, "return_share", None)
    return None if share is None else row_weights(data, share)


def probes_of(config: TrainConfig, data: Transitions, seed: int) -> Probes:
    """Returns what the stages of a seed are judged on: rows as the prior's stage draws them.

    Args:
        config: of the run.
        data: scaled, on the device of the models.
        seed: of the rows.
    """
    source = config.stages().provider(PriorStage)
    settings = getattr(config, source.name)
    return Probes(data, seed, source.held_out(settings), weights_of(settings, data))
