"""Whether a policy may be expected to be no worse than a plain clone, without a simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreregs_offline_rl.data.episode_weights import row_weights
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import generator_for
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.cloning import CloningStage
from scoreregs_offline_rl.stages.mean_policy import mean_policy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.probe import Probes
from scoreregs_offline_rl.stages.registry import Stages
from scoreregs_offline_rl.stages.stage import Stage, ValueStage

__all__ = ["LARGEST_EXCESS", "Verdict", "discounted_returns", "rank_correlation", "verdict_of"]

LARGEST_EXCESS = 0.05
"""Square distance to the data's actions, beyond the clone's and as a share of it, up to which a
policy counts as no worse; `benchmarks/results` says how often that was wrong."""
_ROWS = 4096


@dataclass(frozen=True)
class Verdict:
    """What is expected of a policy beside a plain clone of the data, and why.

    It goes by the clone of the run, which need not be plain: its rows may be weighted by return.

    Attributes:
        candidate: the name of the policy's stage.
        reference: that of the clone's.
        ok: whether the policy is expected to be no worse than a plain clone.
        evidence: numbers, by name:
            `action_error_excess`: by how much of the clone's the policy's square distance to the
            data's actions is larger, where good episodes count as in the clone's training; what
            `ok` goes by.
            `prior_error_ratio`: the prior's error at the policy's actions over that at the data's.
            `spread`: root mean square distance of the policy's members from their mean, over that
            of the clone from the data.
            `value_gain`: what the critic says that the policy gains on the clone, in standard
            deviations of Q over the data.
            `return_order`: rank correlation of Q with the discounted returns that followed, over
            rows that the critic was trained on.
        message: one line with the reason.
        recommended: the stage to take: the policy's where `ok`, else the clone's.
    """

    candidate: str
    reference: str
    ok: bool
    evidence: dict[str, float]
    message: str
    recommended: str


def verdict_of(
    members: Mapping[str, Sequence[Stage[Any]]],
    config: TrainConfig,
    data: Transitions,
    probes: Probes,
) -> Verdict | None:
    """Returns what is expected of the policy of Eq. 15 beside the clone of its run.

    Args:
        members: the finished stages by name, several where policies act by their mean.
        config: of the run, complete.
        data: scaled, on the device of the models.
        probes: what stages are judged on.

    Returns:
        None where the run lacks one of the two.
    """
    policy, clone = PolicyStage, CloningStage
    if not {policy.name, clone.name} <= set(members):
        return None
    evidence = _evidence(members[policy.name], members[clone.name], config, data, probes)
    excess = evidence["action_error_excess"]
    ok = excess <= LARGEST_EXCESS
    message = (
        f"{policy.label} is {'' if ok else 'not '}expected to be as good as plain {clone.label}: "
        f"its actions are {abs(excess):.1%} {'farther from' if excess > 0 else 'nearer to'} the "
        f"data's than those of the run's clone, {LARGEST_EXCESS:.0%} farther are allowed"
    )
    better = policy.name if ok else clone.name
    return Verdict(policy.name, clone.name, ok, evidence, message, better)


@torch.no_grad()
def _evidence(
    policies: Sequence[Stage[Any]],
    clones: Sequence[Stage[Any]],
    config: TrainConfig,
    data: Transitions,
    probes: Probes,
) -> dict[str, float]:
    """Returns what `Verdict.evidence` holds."""
    generator = generator_for(config.seed, "verdict", 0)
    rows = torch.randperm(len(data), generator=generator)[:_ROWS].to(data.actions.device)
    batch, weights = data.select(rows), row_weights(data, config.cloning.return_share or 1.0)[rows]
    policy, clone = mean_policy(policies), mean_policy(clones)
    action, cloned = policy(batch.observations), clone(batch.observations)

    def distance(one: Tensor, other: Tensor) -> float:
        return _mean(weights, (one - other).square().sum(-1))

    own = [member.policy for member in policies if isinstance(member, ActorStage)]
    apart = sum(distance(member(batch.observations), action) for member in own) / len(own)
    error = distance(cloned, batch.actions)
    first: Any = policies[0]
    given, judged = first.given, first.judge(policy, probes)
    q = given.value.q(batch.actions, batch.observations)
    gain = given.value.q(action, batch.observations) - given.value.q(cloned, batch.observations)
    returns = discounted_returns(data, _discount(config, config.stages()))
    return {
        "action_error_excess": distance(action, batch.actions) / error - 1,
        "prior_error_ratio": judged.numbers["prior_error_ratio"],
        "spread": (apart / error) ** 0.5,
        "value_gain": _mean(weights, gain) / float(q.std()),
        "return_order": rank_correlation(q, returns[rows]),
    }


def _mean(weights: Tensor, values: Tensor) -> float:
    return float((weights * values.double()).sum() / weights.sum())


def _discount(config: TrainConfig, stages: Stages) -> float:
    """Returns that of the value's stage; 1 where one of the user's own has none."""
    return getattr(getattr(config, stages.provider(ValueStage).name), "discount", 1.0)


def discounted_returns(data: Transitions, discount: float) -> Tensor:
    """Returns the discounted sum of rewards from each row to the end of its trajectory, (N,)."""
    rewards, ends = data.rewards.double().tolist(), data.ends.tolist()
    found, following = [0.0] * len(rewards), 0.0
    for row in range(len(rewards) - 1, -1, -1):
        following = rewards[row] + (0.0 if ends[row] else discount * following)
        found[row] = following
    return torch.tensor(found, dtype=torch.float64, device=data.rewards.device)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Returns Spearman's correlation; ties are as they come."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])
