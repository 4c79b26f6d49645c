"""Finished weights in place of training: another run's, a sweep's, or those of the paper's code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from scoreregs_offline_rl.configuration import differences
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors_like
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.paper_weights import load_paper_behavior, load_paper_critic
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.former import current_config
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.stage_files import (
    StageReport,
    check_identity,
    identity_of,
    is_finished,
    load_stage,
)

__all__ = ["MemberKey", "adopt"]

# What makes the inputs and targets of another run's networks the same as ours.
_SCALING = ("normalize_observations", "rewards", "action_low", "action_high")


class MemberKey(NamedTuple):
    """What tells one of several members of a stage from the others.

    Attributes:
        seed: of the run, or None for any.
        policy: its place among those that act by their mean.
        beta: None where the stage follows no temperature, and for any.
    """

    seed: int | None
    policy: int
    beta: float | None


def adopt(
    members: Sequence[Stage[Any]],
    keys: Sequence[MemberKey],
    weights: str,
    config: TrainConfig,
    directory: RunDirectory,
) -> StageReport:
    """Loads finished weights into the members of a stage.

    Those of a run serve every seed and temperature; of a sweep each member has its own.

    Args:
        members: of the configuration's sizes.
        keys: what tells each from the others.
        weights: directory of another run or sweep, or a checkpoint file of the paper's code.
        config: of this run, resolved.
        directory: this run's, which holds the hash of its data.

    Returns:
        A report of no steps that names the source.

    Raises:
        RunError: there are no such weights, they are of other sizes, of another prediction type or
            schedule, or belong to data that was scaled in another way.
    """
    source = Path(weights).expanduser()
    if source.is_dir():
        _adopt_run(members, keys, source, config, directory)
    else:
        for stage in members:
            _adopt_paper(stage, source, config)
    return StageReport(0, 0.0, 0.0, {}, source=weights, identity=identity_of(members[0]))


def _adopt_run(
    members: Sequence[Stage[Any]],
    keys: Sequence[MemberKey],
    source: Path,
    config: TrainConfig,
    directory: RunDirectory,
) -> None:
    name = members[0].name
    theirs = RunDirectory(source, directory.kind)
    folder = theirs.stage(name)
    if not is_finished(folder):
        raise RunError(
            f"got the weights {source}, a directory without a finished {name}: finish that "
            "run's stage, or name another directory"
        )
    before, after = load_json(source / "config.json"), vars(config)
    names = [n for n in _SCALING if n in before]
    changes = differences(
        {n: _plain(before[n]) for n in names} | {"data": theirs.data_hash()},
        {n: _plain(after[n]) for n in names} | {"data": directory.data_hash()},
    )
    if changes:
        raise RunError(
            f"got the weights of a run on other inputs, {source} ({'; '.join(changes)}): give this "
            "run the same data and scaling"
        )
    known = _members_in(theirs, members[0], before)
    for stage, key in zip(members, keys, strict=True):
        if known is None:
            load_stage(stage, folder)
        else:
            _load_member(stage, folder, _place_of(key, known, source), len(known))


def _members_in(
    theirs: RunDirectory, stage: Stage[Any], config: dict[str, Any]
) -> list[MemberKey] | None:
    """Returns the members of a stage in another directory, in their order; None: it is alone."""
    path, settings = theirs.path / "grid.json", current_config(config, theirs.stages)
    policies = settings[stage.name].get("policies", 1)
    grid = load_json(path) if path.exists() else {"seeds": [None], "betas": [None]}
    betas = grid["betas"] if stage.follows_beta else [None]
    known = [MemberKey(s, p, b) for s in grid["seeds"] for p in range(policies) for b in betas]
    return known if path.exists() or policies > 1 else None


def _place_of(key: MemberKey, known: Sequence[MemberKey], source: Path) -> int:
    """Returns which of some members is the one of a seed, policy and temperature."""
    for place, its in enumerate(known):
        if (
            its.seed in (None, key.seed)
            and its.beta in (None, key.beta)
            and its.policy == key.policy
        ):
            return place
    their = [list(dict.fromkeys(values)) for values in zip(*known, strict=True)]
    raise RunError(
        f"got the weights of a sweep of the seeds {their[0]}, policies {their[1]} and temperatures "
        f"{their[2]}, {source}, expected seed {key.seed}, policy {key.policy}, temperature "
        f"{key.beta} among them: sweep or train what it has"
    )


def _load_member(stage: Stage[Any], folder: Path, index: int, count: int) -> None:
    """Loads one of several members that a stage was trained as."""
    report = load_json(folder / "report.json")
    check_identity(stage, report.get("identity", {}), folder)
    own = stage.state_dict()
    like = {
        name: torch.empty((count, *value.shape), dtype=value.dtype, device="meta")
        for name, value in own.items()
    }
    remedy = f"give the sizes that the {stage.name} stage was trained with"
    stacked = load_tensors_like(folder / "weights.safetensors", like, remedy=remedy)
    member = {name: values[index] for name, values in stacked.items()}
    if report.get("lost") and not any(values.any() for values in member.values()):
        raise RunError(
            f"got the weights of a member that was lost in {folder} ({', '.join(report['lost'])}), "
            "expected one whose numbers stayed finite: choose another seed"
        )
    _load(stage, member, stage, folder)


def _adopt_paper(stage: Stage[Any], source: Path, config: TrainConfig) -> None:
    if config.normalize_observations:
        raise RunError(
            f"got {source}, weights for observations as they are, and normalize_observations: "
            "take --preset paper-exact, or --no-normalize-observations"
        )
    # Its models are of the defaults, noise prediction under VP.
    check_identity(stage, {}, source)
    if isinstance(stage, CriticStage):
        _load(stage.critic, load_paper_critic(source).state_dict(), stage, source)
    elif isinstance(stage, BehaviorStage):
        _load(stage.network, load_paper_behavior(source).state_dict(), stage, source)
    else:
        raise RunError(
            f"got {source} for the {stage.name} stage, expected the directory of a run: a file of "
            "the paper's code holds its critic or its behavior model"
        )


def _load(module: nn.Module, state: dict[str, Any], stage: Stage[Any], source: Path) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise RunError(
            f"got {stage.name} weights of another size in {source} ({first}): give data of the "
            "task that they were trained on, and their sizes"
        ) from error


def _plain(value: object) -> object:
    """Returns a value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
