"""The stages of a finished run, to look at or to build on."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scoreregs import ScorePrior
from scoreregs.arguments import named_calls, nearest
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.randoms import derived_seed
from scoreregs_offline_rl.runs.building import build, give, probes_of
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.scaled import scale
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.critic import Critic, CriticStage
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.former import current_result
from scoreregs_offline_rl.stages.mean_policy import mean_policy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.registry import actors_of, known_name
from scoreregs_offline_rl.stages.stacking import share, stack
from scoreregs_offline_rl.stages.stage import Given, PriorStage, Stage, ValueStage
from scoreregs_offline_rl.stages.value import Value
from scoreregs_offline_rl.training.stage_files import is_finished, load_report, load_stage

__all__ = ["RunModels", "diagnose", "handed_over", "load_models", "load_policy"]

logger = logging.getLogger(__name__)


@named_calls
@dataclass(frozen=True, eq=False)
class RunModels:
    """What a run trained.

    Attributes:
        config: the run's resolved configuration.
        stages: the finished stages by name, on the CPU, frozen.
        value: Q and V of scaled observations and actions in [-1, 1].
        prior: the behavior model of actions in [-1, 1] given scaled observations.
        policies: the finished policies, in the environment's units, by their stage's name.
    """

    config: TrainConfig
    stages: Mapping[str, Stage[Any]]
    value: Value
    prior: ScorePrior
    policies: Mapping[str, TrainedPolicy] = field(default_factory=dict)

    @property
    def critic(self) -> Critic:
        """The networks of the package's own critic.

        Raises:
            RunError: the run's value comes from another stage.
        """
        stage = self.stages.get(CriticStage.name)
        if not isinstance(stage, CriticStage):
            raise RunError(f"got a run without a {CriticStage.name} stage: see its `value`")
        return stage.critic


@named_calls
def load_models(run_dir: str | Path, kind: type[TrainConfig] = TrainConfig) -> RunModels:
    """Returns the models of a run that has a finished value, prior and policy.

    Args:
        run_dir: the run's directory.
        kind: the class of its configuration.

    Raises:
        RunError: the directory holds no such run.
    """
    directory = RunDirectory(run_dir, kind)
    config = directory.read_config()
    policies = {name: load_policy(run_dir, name, kind) for name in directory.agents()}
    if not policies:
        raise RunError(f"got {run_dir}, which holds no finished policy: train a policy there")
    policy = next(iter(policies.values()))
    sizes = len(policy.observation_scaling.mean), len(policy.action_scaling.low)
    stages = _load_stages(directory, config, sizes)
    found: dict[type[Stage[Any]], Any] = {}
    for need in (ValueStage, PriorStage):
        name = config.stages().provider(need).name
        if name not in stages:
            raise RunError(f"got {run_dir}, which holds no finished {name}: train that stage there")
        found[need] = stages[name]
    return RunModels(config, stages, found[ValueStage].value, found[PriorStage].prior, policies)


@named_calls
def load_policy(
    run_dir: str | Path, stage: str | None = None, kind: type[TrainConfig] = TrainConfig
) -> TrainedPolicy:
    """Returns a policy of a finished run with the record of its training, on the CPU.

    Args:
        run_dir: the run's directory.
        stage: that trained it: `policy`, `awr`, `cloning`, `td3_bc`, or one of the user's own.
            None: `policy`, or with `hand_over_recommended` what the verdict of the run recommends,
            where a replacement is logged; without a `policy` the only one.
        kind: the class of the run's configuration.

    Raises:
        ArgumentError: there is no such stage.
        RunError: the directory holds no such policy, or several and none is named.
    """
    directory = RunDirectory(run_dir, kind)
    folders = directory.agents()
    usual = next(iter(folders)) if len(folders) == 1 else handed_over(directory)
    stage = usual if stage is None else stage
    name = known_name(directory.stages, stage) or stage
    if name not in folders:
        known = {**actors_of(directory.stages), **folders}
        if name not in known:
            raise ArgumentError(
                f"got stage {stage!r}, expected one with a policy: {', '.join(known)}"
                + nearest(name, known)
            )
        others = f", or name another stage, it has {', '.join(folders)}" if folders else ""
        raise RunError(
            f"got {run_dir}, which holds no finished {name}: train that stage there{others}"
        )
    policy = TrainedPolicy.load(folders[name])
    result = current_result(load_json(directory.result_file), directory.stages)
    policy.record = TrainingRecord.from_result(result, name)
    return policy


def handed_over(directory: RunDirectory) -> str:
    """Returns the stage whose policy a run hands over where none is named."""
    if not directory.result_file.exists():
        return PolicyStage.name
    verdict = load_json(directory.result_file).get("verdict")
    if verdict is None or not directory.read_config().hand_over_recommended:
        return PolicyStage.name
    name = verdict["recommended"]
    if name != verdict["candidate"]:
        logger.warning(
            "%s takes the place of %s: %s", name, verdict["candidate"], verdict["message"]
        )
    return name


@named_calls
def diagnose(
    run_dir: str | Path,
    data: Transitions | None = None,
    kind: type[TrainConfig] = TrainConfig,
) -> dict[str, Finding]:
    """Returns what the checks find in what the stages of a run left, as far as they are finished.

    Args:
        run_dir: the run's directory.
        data: what it was trained on; None: it is loaded again.
        kind: the class of the run's configuration.

    Raises:
        RunError: no stage with a check is finished, or the data is other than that of the run.
        DataError: the data cannot be loaded.
    """
    directory = RunDirectory(run_dir, kind)
    config = directory.read_config()
    data = load_data(config.data, config.loading) if data is None else data
    directory.check_data(data)
    scaled = scale(data, config)
    probes = probes_of(config, scaled.transitions, config.seed)
    stages = _load_stages(directory, config, scaled.sizes)
    found = {name: stage.check(probes) for name, stage in stages.items()}
    findings = {
        name: finding.with_unmoved(sum(load_report(directory.stage(name)).unmoved.values()))
        for name, finding in found.items()
        if finding is not None
    }
    if not findings:
        raise RunError(
            f"got {run_dir}, where no stage that can be checked is finished: train a stage first"
        )
    return findings


def _load_stages(
    directory: RunDirectory, config: TrainConfig, sizes: tuple[int, int]
) -> dict[str, Stage[Any]]:
    """Returns the finished stages by name, on the CPU."""
    stages, finished = config.stages(), {}
    for name, kind in stages.items():
        folder = directory.stage(name)
        needs = (need for need in kind.needs if not issubclass(need, ActorStage))
        lacking = [n for n in needs if stages.provider(n).name not in finished]
        if is_finished(folder) and not lacking:
            given = replace(give(kind, config, finished), start=None)
            stage = _load_stage(kind, config, sizes, given, folder)
            finished[name] = stage.eval().requires_grad_(False)
    return finished


def _load_stage(
    kind: type[Stage[Any]], config: TrainConfig, sizes: tuple[int, int], given: Given, folder: Path
) -> Stage[Any]:
    """Returns a finished stage; where several policies act by their mean, with that policy."""
    policies = getattr(getattr(config, kind.name), "policies", 1)
    seeds = [derived_seed(config.seed, index) for index in range(policies)]
    members = [build(kind, replace(config, seed=seed), sizes, given) for seed in seeds]
    joint = members[0] if policies == 1 else stack(members)
    load_stage(joint, folder)
    if isinstance(members[0], ActorStage) and policies > 1:
        share(joint, members)
        members[0].policy = mean_policy(members)  # pyright: ignore[reportAttributeAccessIssue]
    return members[0]
