"""What the stages of a run or a sweep leave in memory."""

from dataclasses import dataclass, field
from typing import Any

from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.runs.verdict import Verdict
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.training.stage_files import StageReport

__all__ = ["MemberResults", "PipelineResults"]


@dataclass(frozen=True, eq=False)
class MemberResults:
    """What the stages leave of one member.

    Attributes:
        findings: what the checks of the finished stages found, by the stage's name.
        agents: the finished policies, by the name of the stage that trained them.
        verdict: what is expected of the policy of Eq. 15 beside a clone; None without one of them.
        lost: names of the stages whose numbers stopped being finite, or that build on such.
    """

    findings: dict[str, Finding] = field(default_factory=dict)
    agents: dict[str, TrainedPolicy] = field(default_factory=dict)
    verdict: Verdict | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PipelineResults:
    """What the stages leave.

    Attributes:
        reports: how each stage went, by its name, all members together.
        members: what is left of each; of a run, of the only one.
        policies: the trained policies of each stage, stacked where there are several.
    """

    reports: dict[str, StageReport]
    members: tuple[MemberResults, ...]
    policies: dict[str, Any]
