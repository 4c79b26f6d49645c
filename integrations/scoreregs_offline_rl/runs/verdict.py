"""Whether a policy may be expected to be no worse than a plain clone, without a simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scoreregs import NoiseSchedule
from scoreregs_offline_rl.data.episode_weights import row_weights
from scoreregs_offline_rl.data.stretches import discounted_returns
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import generator_for
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.cloning import CloningStage
from scoreregs_offline_rl.stages.mean_policy import mean_policy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.probe import Probe, Probes
from scoreregs_offline_rl.stages.registry import Stages
from scoreregs_offline_rl.stages.stage import Stage, ValueStage
from scoreregs_offline_rl.stages.value import Value

__all__ = [
    "LARGEST",
    "LEAST_ORDER",
    "LEAST_STEPS",
    "NEAR",
    "Verdict",
    "few_steps",
    "rank_correlation",
    "return_order",
    "verdict_of",
    "with_little_noise",
]

LARGEST = {"prior_error_excess": 0.1, "action_error_excess": 1.0}
"""The evidence that `Verdict.ok` goes by, and up to where a policy counts as no worse.

Of the first, `benchmarks/results` says how often that was wrong. As for the second: actions that
are drawn as the data's were lie twice as far from them, in the mean of squares, as their mean does.
"""
LEAST_ORDER = 0.4
"""The `return_order` from which a critic is climbed; `ok` goes by it too. One that cannot tell
which actions of the data did better has no say in what would do better still: with 0.3 policies
lost half of their clone's score, with 0.56 and more most gained (`benchmarks/results`)."""
LEAST_STEPS = 20_000
"""The critic's steps from which `ok` says that, where `minutes` have chosen them: with fewer, 2,000
to 12,500, policies that are near the data scored 14 below their clones in the mean, and no number
told which (`benchmarks/results`)."""
NEAR = 0.01
"""`prior_error_excess` up to where a larger temperature is worth taking. Of those that were tried
(`benchmarks/results/laptop-beta.csv`) none but the smallest, which is taken on trust, scored more
than 6 below its clone within it; of four seeds 1.3 to 2.2 % above, one scored half of its clone."""
_WORDS = {
    "prior_error_excess": "the behavior model's error at its actions",
    "action_error_excess": "the square distance of its actions to the data's",
}
# Little noise: there the error grows with the distance to the nearest of the data's actions, in
# units of their own spread, and a policy that takes one of several ways is as near as any.
_LOG_SNR = (4.0, 7.0)
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
            `prior_error_excess`: by how much of the clone's the prior's error at the policy's
            actions is larger, at little noise.
            `action_error_excess`: the same of the square distance to the data's actions, where good
            episodes count as in the clone's training.
            `prior_error_ratio`: the prior's error at the policy's actions over that at the data's.
            `spread`: root mean square distance of the policy's members from their mean, over that
            of the clone from the data.
            `value_gain`: what the critic says that the policy gains on the clone, in standard
            deviations of Q over the data.
            `return_order`: rank correlation of Q with the discounted returns that followed, over
            rows that the critic was trained on.
            `ok` goes by the first two and the last, and by the steps that `minutes` left.
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
    ok, reason = _judged(evidence)
    if ok and (few := few_steps(config)) is not None:
        ok, reason = False, few
    message = (
        f"{policy.label} is {'' if ok else 'not '}expected to be as good as plain {clone.label}: "
        f"{reason}"
    )
    better = policy.name if ok else clone.name
    return Verdict(policy.name, clone.name, ok, evidence, message, better)


def _judged(evidence: Mapping[str, float]) -> tuple[bool, str]:
    """Returns whether evidence is within all limits, and which of it says so."""
    order = evidence["return_order"]
    # The first that is beyond its limit, else the first.
    beyond = next((name for name in LARGEST if evidence[name] > LARGEST[name]), None)
    if beyond is None and order < LEAST_ORDER:
        return False, (
            f"the critic's order of the data's actions has a rank correlation of {order:.2f} with "
            f"the returns that followed, at least {LEAST_ORDER:g} is asked for"
        )
    told = beyond or next(iter(LARGEST))
    excess, limit = evidence[told], LARGEST[told]
    return beyond is None, (
        f"{_WORDS[told]} is {abs(excess):.1%} {'above' if excess > 0 else 'below'} that of the "
        f"run's clone, {limit:.0%} above are allowed"
    )


def few_steps(config: TrainConfig) -> str | None:
    """Returns what is wrong where `minutes` left the critic too few steps; None: nothing.

    Args:
        config: complete, with the steps that were chosen.
    """
    settings = getattr(config, config.stages().provider(ValueStage).name)
    if config.minutes is None or settings.steps >= LEAST_STEPS:
        return None
    return (
        f"in {config.minutes:g} minutes the critic has {settings.steps} steps, and with fewer than "
        f"{LEAST_STEPS} policies often fall behind their clone unseen: give it more minutes"
    )


@torch.no_grad()
def _evidence(
    policies: Sequence[Stage[Any]],
    clones: Sequence[Stage[Any]],
    config: TrainConfig,
    data: Transitions,
    probes: Probes,
) -> dict[str, float]:
    """Returns what `Verdict.evidence` holds."""
    rows = _rows(config, data)
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
    probe = with_little_noise(probes.held, given.prior.schedule)
    errors = [
        float(probe.errors(given.prior, one(probe.batch.observations)).double().mean())
        for one in (policy, clone)
    ]
    return {
        "prior_error_excess": errors[0] / errors[1] - 1,
        "action_error_excess": distance(action, batch.actions) / error - 1,
        "prior_error_ratio": judged.numbers["prior_error_ratio"],
        "spread": (apart / error) ** 0.5,
        "value_gain": _mean(weights, gain) / float(q.std()),
        "return_order": return_order(given.value, config, data),
    }


@torch.no_grad()
def return_order(value: Value, config: TrainConfig, data: Transitions) -> float:
    """Returns the rank correlation of Q with the discounted returns that followed upon actions.

    Args:
        value: the critic's.
        config: of its run.
        data: scaled, on its device.
    """
    rows = _rows(config, data)
    returns = discounted_returns(data, _discount(config, config.stages()))[rows]
    batch = data.select(rows)
    return rank_correlation(value.q(batch.actions, batch.observations), returns)


def _rows(config: TrainConfig, data: Transitions) -> Tensor:
    generator = generator_for(config.seed, "verdict", 0)
    return torch.randperm(len(data), generator=generator)[:_ROWS].to(data.actions.device)


def with_little_noise(probe: Probe, schedule: NoiseSchedule) -> Probe:
    """Returns a probe at a log-SNR from 4 to 7, or as near to it as the schedule comes."""
    low, high = _LOG_SNR
    ends = schedule.log_snr(probe.t.new_tensor([1.0, 0.0], dtype=torch.float64))
    wanted = high + (low - high) * probe.t.double()
    t = schedule.t_from_log_snr(wanted.clamp(float(ends[0]), float(ends[1])))
    return replace(probe, t=t.to(probe.t.dtype))


def _mean(weights: Tensor, values: Tensor) -> float:
    return float((weights * values.double()).sum() / weights.sum())


def _discount(config: TrainConfig, stages: Stages) -> float:
    """Returns that of the value's stage; 1 where one of the user's own has none."""
    return getattr(getattr(config, stages.provider(ValueStage).name), "discount", 1.0)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Returns Spearman's correlation; ties are as they come."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])
