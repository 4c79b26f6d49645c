"""The stages of a sweep: critics and behavior models of all seeds, then all policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, final

from torch import Tensor, nn

from scoreregs_offline_rl.runs.configuration import StageName, TrainConfig
from scoreregs_offline_rl.runs.pipeline import ScaledData, new_behavior, new_critic, new_policy
from scoreregs_offline_rl.runs.policy_evaluation import learning_curve
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.policy_sweep import PolicySweepStage
from scoreregs_offline_rl.stages.stacking import member_state, stack
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.sweeps.grid import SweepGrid
from scoreregs_offline_rl.training.health import Finding, HealthChecks, Monitor
from scoreregs_offline_rl.training.inputs import Members
from scoreregs_offline_rl.training.randoms import check_batch
from scoreregs_offline_rl.training.stage_files import StageReport
from scoreregs_offline_rl.training.trainer import StageMonitor, Trainer

__all__ = ["SweepPipeline", "SweepResults"]

S = TypeVar("S", CriticStage, BehaviorStage)
Check = Callable[[], Finding]


@dataclass(frozen=True, eq=False)
class SweepResults:
    """What the stages leave.

    Attributes:
        reports: How each stage went, by its name, all members together.
        findings: What the checks found for each member, by the stage's name.
        policies: Of the members.
    """

    reports: dict[StageName, StageReport]
    findings: tuple[dict[StageName, Finding], ...]
    policies: tuple[DiracPolicy, ...]


@final
class SweepPipeline:
    """Trains the stages of a sweep, each in a folder of its own name.

    Args:
        config: Resolved; its seed and temperature play no part.
        grid: The members.
        data: On the trainer's device.
        trainer: Runs each stage.
        run_dir: Holds the stages' folders.
    """

    def __init__(
        self,
        config: TrainConfig,
        grid: SweepGrid,
        data: ScaledData,
        trainer: Trainer,
        run_dir: Path,
    ) -> None:
        self._config, self._grid, self._data = config, grid, data
        self._trainer, self._run_dir = trainer, run_dir
        self._of_seeds = grid.configs(config)[:: len(grid.betas)]
        self._health = [HealthChecks(data.transitions, its) for its in self._of_seeds]
        self._reports: dict[StageName, StageReport] = {}

    def run(self) -> SweepResults:
        """Train the stages that are not finished, and load the others.

        Raises:
            RunError: See `Trainer.run`.
        """
        self._check_batches()
        critics, critic_findings = self._train_seeds(new_critic, _check_critic)
        behaviors, behavior_findings = self._train_seeds(new_behavior, _check_behavior)
        policies, policy_findings = self._train_policies(critics, behaviors)
        temperatures = len(self._grid.betas)
        findings: list[dict[StageName, Finding]] = []
        for index, found in enumerate(policy_findings):
            seed = index // temperatures
            findings.append(
                {
                    "critic": critic_findings[seed],
                    "behavior": behavior_findings[seed],
                    "policy": found,
                }
            )
        return SweepResults(self._reports, tuple(findings), tuple(policies))

    def _check_batches(self) -> None:
        """Refuse a batch that a later stage cannot fill before an earlier one is trained."""
        config, rows = self._config, len(self._data.transitions)
        check_batch(config.critic.batch_size, rows, "critic")
        check_batch(config.behavior.batch_size, len(self._health[0].trained_rows), "behavior")
        check_batch(config.policy.batch_size, rows, "policy")

    def _train_seeds(
        self,
        make: Callable[[TrainConfig, tuple[int, int]], S],
        check: Callable[[HealthChecks, S], Finding],
    ) -> tuple[list[S], list[Finding]]:
        """One stage of every seed."""
        stages = [make(config, self._data.sizes) for config in self._of_seeds]
        checks = [partial(check, *pair) for pair in zip(self._health, stages, strict=True)]
        rows = None
        if isinstance(stages[0], BehaviorStage):
            rows = tuple(health.trained_rows for health in self._health)
        stacked = stack(stages)
        found = self._train(stacked, stacked, stages, checks, self._grid.seed_labels, rows)
        return stages, found

    def _train_policies(
        self, critics: Sequence[CriticStage], behaviors: Sequence[BehaviorStage]
    ) -> tuple[list[DiracPolicy], list[Finding]]:
        """The policies of every seed at every temperature."""
        grid, device = self._grid, self._data.transitions.actions.device
        policies = [new_policy(its, self._data.sizes) for its in grid.configs(self._config)]
        stage = PolicySweepStage(
            stack(policies),
            stack([stage.critic for stage in critics]).to(device),
            stack([stage.network for stage in behaviors]).to(device),
            self._config.policy,
            action_size=self._data.sizes[1],
            betas=grid.betas,
        )
        checks = [
            partial(
                self._health[index // len(grid.betas)].policy,
                policy,
                behaviors[index // len(grid.betas)].network,
            )
            for index, policy in enumerate(policies)
        ]
        scalings = self._data.observations, self._data.actions
        curve = learning_curve(policies, *scalings, self._config.evaluation, grid.labels)
        found = self._train(stage, stage.policy, policies, checks, grid.labels, curve=curve)
        return policies, found

    def _train(
        self,
        stage: Stage,
        stacked: nn.Module,
        members: Sequence[nn.Module],
        checks: Sequence[Check],
        labels: tuple[str, ...],
        rows: tuple[Tensor, ...] | None = None,
        curve: StageMonitor | None = None,
    ) -> list[Finding]:
        """Train or load a stage, and leave its members with their weights."""
        settings = getattr(self._config, stage.name)
        # A critic diverges at any time; the others need a while to mean something.
        first = 0 if stage.name == "critic" else settings.steps // 10
        monitors = [
            Monitor(check, first_step=first, label=label)
            for check, label in zip(checks, labels, strict=True)
        ]

        def watch(step: int) -> dict[str, float]:
            self._hand_out(stacked, members)
            found = {name: n for monitor in monitors for name, n in monitor(step).items()}
            return found if curve is None else found | curve(step)

        self._reports[stage.name] = self._trainer.run(
            stage,
            self._data.transitions,
            steps=settings.steps,
            batch_size=settings.batch_size,
            folder=self._run_dir / stage.name,
            members=Members(labels, self._grid.seeds, rows),
            monitor=watch,
            steps_before=sum(report.steps for report in self._reports.values()),
        )
        self._hand_out(stacked, members)
        return [check() for check in checks]

    def _hand_out(self, stacked: nn.Module, members: Sequence[nn.Module]) -> None:
        device = self._data.transitions.actions.device
        for index, member in enumerate(members):
            member.load_state_dict(member_state(stacked, index))
            member.to(device)


def _check_critic(health: HealthChecks, stage: CriticStage) -> Finding:
    return health.critic(stage.critic)


def _check_behavior(health: HealthChecks, stage: BehaviorStage) -> Finding:
    return health.behavior(stage.network)
