"""The stages in their order, on scaled data."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling, RewardScaling
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import STAGES, StageName, TrainConfig
from scoreregs_offline_rl.runs.policy_evaluation import learning_curve
from scoreregs_offline_rl.stages.baseline import BaselineStage
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.adoption import adopt
from scoreregs_offline_rl.training.health import Finding, HealthChecks, Monitor
from scoreregs_offline_rl.training.randoms import check_batch, seeded
from scoreregs_offline_rl.training.stage_files import StageReport, is_finished
from scoreregs_offline_rl.training.trainer import StageMonitor, Trainer

__all__ = [
    "Pipeline",
    "ScaledData",
    "StageResults",
    "check_needs",
    "new_behavior",
    "new_critic",
    "new_policy",
    "scale",
]

_NEEDS: dict[StageName, tuple[StageName, ...]] = {
    "critic": (),
    "behavior": (),
    "baseline": ("critic",),
    "policy": ("critic", "behavior"),
}


@dataclass(frozen=True, eq=False)
class ScaledData:
    """Transitions as the networks see them, with the scalings that lead back.

    Attributes:
        transitions: Scaled observations, actions in [-1, 1], scaled rewards.
        observations: The scaling of observations.
        actions: The scaling of actions.
    """

    transitions: Transitions
    observations: ObservationScaling
    actions: ActionScaling

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of observation and action dimensions."""
        return self.transitions.observations.shape[1], self.transitions.actions.shape[1]


@dataclass(frozen=True, eq=False)
class StageResults:
    """What stages leave.

    Attributes:
        reports: How each stage went, by its name.
        findings: What the checks of the finished models found, by the stage's name.
        agents: The finished policies, by the name of the stage that trained them.
    """

    reports: dict[StageName, StageReport]
    findings: dict[StageName, Finding]
    agents: dict[StageName, TrainedPolicy]


def scale(data: Transitions, config: TrainConfig) -> ScaledData:
    """Scale transitions as a resolved configuration says.

    Raises:
        DataError: Actions lie beyond their bounds, or rewards have no range.
    """
    actions = ActionScaling(Tensor(config.action_low), Tensor(config.action_high))
    size = data.observations.shape[1]
    observations = (
        ObservationScaling.fit(data.observations)
        if config.normalize_observations
        else ObservationScaling.identity(size)
    )
    transitions = replace(
        data,
        observations=observations(data.observations),
        next_observations=observations(data.next_observations),
        actions=actions.normalize(data.actions, source=data.source),
        rewards=RewardScaling.fit(config.rewards, data)(data.rewards),
    )
    return ScaledData(transitions, observations, actions)


def new_critic(config: TrainConfig, sizes: tuple[int, int]) -> CriticStage:
    """The critic stage with its initial weights."""
    with seeded(config.seed, "critic"):
        return CriticStage(*sizes, config.critic)


def new_behavior(config: TrainConfig, sizes: tuple[int, int]) -> BehaviorStage:
    """The behavior stage with its initial weights."""
    with seeded(config.seed, "behavior"):
        return BehaviorStage(*sizes, config.behavior)


def new_policy(config: TrainConfig, sizes: tuple[int, int]) -> DiracPolicy:
    """A policy with its initial weights, the same for the baseline."""
    with seeded(config.seed, "policy"):
        return DiracPolicy(*sizes, layers=config.policy.layers, width=config.policy.width)


def check_needs(config: TrainConfig, run_dir: Path, stages: Collection[StageName]) -> None:
    """See that every stage will find the finished stages that it builds on.

    Raises:
        RunError: One is neither finished nor asked for, nor are its weights given.
    """
    given = {"critic": config.critic.weights, "behavior": config.behavior.weights}
    for stage in stages:
        for needed in _NEEDS[stage]:
            if needed not in stages and not given[needed] and not is_finished(run_dir / needed):
                raise RunError(
                    f"got the {stage} stage, which needs a finished {needed}, and none in "
                    f"{run_dir}: train the {needed} stage there first, or give --{needed}.weights"
                )


class Pipeline:
    """Trains stages of a run, each in a folder of its own name.

    Args:
        config: Resolved.
        data: On the trainer's device.
        trainer: Runs each stage.
        run_dir: Holds the stages' folders.
    """

    def __init__(
        self, config: TrainConfig, data: ScaledData, trainer: Trainer, run_dir: Path
    ) -> None:
        self._config, self._data = config, data
        self._trainer, self._run_dir = trainer, run_dir
        self._checks = HealthChecks(data.transitions, config)
        self._results = StageResults({}, {}, {})

    def run(self, stages: Collection[StageName] = STAGES) -> StageResults:
        """Train the stages that are not finished, and load those that they build on.

        Raises:
            RunError: See `check_needs`, `adopt` and `Trainer.run`.
        """
        check_needs(self._config, self._run_dir, stages)
        self._check_batches(stages)
        used = set(stages).union(*(_NEEDS[stage] for stage in stages))
        config, sizes = self._config, self._data.sizes
        critic, behavior = new_critic(config, sizes), new_behavior(config, sizes)
        if "critic" in used:
            check = partial(self._checks.critic, critic.critic)
            self._prepare(critic, config.critic.weights, Monitor(check))
            self._results.findings["critic"] = check()
        if "behavior" in used:
            check = partial(self._checks.behavior, behavior.network)
            first = config.behavior.steps // 10
            self._prepare(behavior, config.behavior.weights, Monitor(check, first_step=first))
            self._results.findings["behavior"] = check()
        if "baseline" in stages:
            self._train_baseline(critic)
        if "policy" in stages:
            self._train_policy(critic, behavior)
        return self._results

    def _check_batches(self, stages: Collection[StageName]) -> None:
        """Refuse a batch that a later stage cannot fill before an earlier one is trained."""
        config, rows = self._config, len(self._data.transitions)
        trained = len(self._checks.trained_rows)
        for name, batch_size, count, given in (
            ("critic", config.critic.batch_size, rows, config.critic.weights),
            ("behavior", config.behavior.batch_size, trained, config.behavior.weights),
            ("baseline", config.baseline.batch_size, rows, None),
            ("policy", config.policy.batch_size, rows, None),
        ):
            if name in stages and given is None and not is_finished(self._run_dir / name):
                check_batch(batch_size, count, name)

    def _prepare(
        self, stage: CriticStage | BehaviorStage, weights: str | None, monitor: StageMonitor
    ) -> None:
        """Train a stage, load it, or take its weights from elsewhere."""
        folder = self._run_dir / stage.name
        if weights is not None and not is_finished(folder):
            report = adopt(stage, weights, self._config, self._run_dir)
            self._trainer.keep(stage, folder, report)
        rows = self._checks.trained_rows if isinstance(stage, BehaviorStage) else None
        self._train(stage, stage.config.steps, stage.config.batch_size, rows, monitor)

    def _train_baseline(self, critic: CriticStage) -> None:
        config = self._config
        steps = config.baseline.steps or config.policy.steps
        network = new_policy(config, self._data.sizes)
        stage = BaselineStage(network, critic.critic, config.baseline, steps=steps)
        self._train(stage, steps, config.baseline.batch_size)
        self._results.agents["baseline"] = self._agent(stage.policy)

    def _train_policy(self, critic: CriticStage, behavior: BehaviorStage) -> None:
        config, network = self._config, behavior.network
        stage = PolicyStage(
            new_policy(config, self._data.sizes),
            critic.critic,
            network,
            config.policy,
            beta=float(config.beta or 0),
        )
        check = partial(self._checks.policy, stage.policy, network)
        monitor = Monitor(check, first_step=config.policy.steps // 10)
        scalings = self._data.observations, self._data.actions
        curve = learning_curve([stage.policy], *scalings, config.evaluation)

        def watch(step: int) -> dict[str, float]:
            return monitor(step) | curve(step)

        self._train(stage, config.policy.steps, config.policy.batch_size, None, watch)
        self._results.findings["policy"] = check()
        self._results.agents["policy"] = self._agent(stage.policy)

    def _train(
        self,
        stage: Stage,
        steps: int,
        batch_size: int,
        rows: Tensor | None = None,
        monitor: StageMonitor | None = None,
    ) -> None:
        self._results.reports[stage.name] = self._trainer.run(
            stage,
            self._data.transitions,
            steps=steps,
            batch_size=batch_size,
            folder=self._run_dir / stage.name,
            rows=rows,
            monitor=monitor,
            steps_before=self._steps_before(stage.name),
        )

    def _steps_before(self, name: StageName) -> int:
        """Steps of the stages before one, whether they are trained now or not."""
        config = self._config
        steps = (
            config.critic.steps,
            config.behavior.steps,
            config.baseline.steps or config.policy.steps,
        )
        return sum(steps[: STAGES.index(name)])

    def _agent(self, policy: DiracPolicy) -> TrainedPolicy:
        data, environment = self._data, self._config.evaluation.environment
        return TrainedPolicy(policy, data.observations, data.actions, environment)
