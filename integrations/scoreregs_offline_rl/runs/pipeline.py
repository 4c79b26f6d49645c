"""The stages in their order, on scaled data: of one run, or of all members of a sweep at once.

A run has one member, which is trained as it is. The members of a sweep are stacked and trained as
one stage; each is what it would be alone. Whatever the stages are, this is the same: what they
need, give and are called is theirs to say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast, final

import torch
from torch import Tensor

from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.evaluation.learning_curve import learning_curve
from scoreregs_offline_rl.randoms import check_batches, derived_seed
from scoreregs_offline_rl.runs.adoption import MemberKey, adopt
from scoreregs_offline_rl.runs.building import (
    build,
    give,
    member_label,
    probes_of,
    stacked,
    untrained,
    weights_of,
)
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.needs import check_needs, given_weights
from scoreregs_offline_rl.runs.outcome import MemberResults, PipelineResults
from scoreregs_offline_rl.runs.resolution import complete
from scoreregs_offline_rl.runs.scaled import ScaledData
from scoreregs_offline_rl.runs.temperature import choose_beta
from scoreregs_offline_rl.runs.verdict import Verdict, return_order, verdict_of
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.mean_policy import mean_policy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.probe import Probes
from scoreregs_offline_rl.stages.registry import Stages, with_needs
from scoreregs_offline_rl.stages.stacking import share
from scoreregs_offline_rl.stages.stage import Given, Stage
from scoreregs_offline_rl.training.inputs import Members
from scoreregs_offline_rl.training.loss_check import try_forward
from scoreregs_offline_rl.training.monitor import Monitor, is_due
from scoreregs_offline_rl.training.rehearsal import Rehearsal
from scoreregs_offline_rl.training.stage_files import StageReport, is_finished
from scoreregs_offline_rl.training.trainer import Trainer

__all__ = ["Pipeline"]


@dataclass(frozen=True, eq=False)
class _Trained:
    """A stage; its members are seeds first, then policies that act by their mean, then betas."""

    members: Sequence[Stage[Any]]
    joint: Stage[Any]
    labels: tuple[str, ...]
    policies: int = 1


@final
class Pipeline:
    """Trains the stages of a run or of a sweep, each in a folder of its own.

    Args:
        config: resolved; of a sweep, its seed and temperature play no part.
        data: on the trainer's device.
        trainer: runs each stage, or rehearses it.
        directory: holds the stages' folders.
        grid: the members of a sweep; None for a run.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: ScaledData,
        trainer: Trainer | Rehearsal,
        directory: RunDirectory,
        grid: SweepGrid | None = None,
    ) -> None:
        self._config, self._data, self._grid = complete(config), data, grid
        self._trainer, self._directory = trainer, directory
        self._stages: Stages = config.stages()
        seeds = (config.seed,) if grid is None else grid.seeds
        self._probes = [probes_of(config, data.transitions, seed) for seed in seeds]
        self._finished: dict[str, _Trained] = {}
        self._reports: dict[str, StageReport] = {}

    def run(self, names: Collection[str]) -> PipelineResults:
        """Trains the stages that are not finished, and loads those that they build on.

        Raises:
            RunError: see `check_needs`, `adopt` and `Trainer.run`.
        """
        self.train(names)
        return PipelineResults(
            self._reports,
            tuple(self._results(index) for index in range(len(self._configs))),
            {
                name: trained.joint.policy
                for name, trained in self._finished.items()
                if isinstance(trained.joint, ActorStage)
            },
        )

    def train(self, names: Collection[str]) -> None:
        """Does what `run` does, but for what it returns, which takes a check of every stage."""
        check_needs(self._config, self._directory, names)
        used = with_needs(self._stages, set(names), self._config)
        self._check_batches(used)
        # What cannot be built, or has no loss, is refused before anything is trained.
        for stage in untrained(self._configs[0], used, self._data.sizes).values():
            try_forward(stage, self._data.transitions)
        for name in used:
            kind, trainer = self._stages[name], self._trainer
            choices = self._choices(kind)
            if choices is not None:
                self._trainer = self._choose_beta(kind, choices)
            self._train(kind)
            self._trainer = trainer

    @property
    def config(self) -> TrainConfig:
        """The configuration, with the temperature that was chosen where none was given."""
        return self._config

    def _choices(self, kind: type[Stage[Any]]) -> tuple[float, ...] | None:
        """Returns the temperatures that a run has to choose from; None: there is one, or many."""
        open_choice = kind is PolicyStage and self._grid is None and self._config.beta is None
        return self._config.policy.beta_choices if open_choice else None

    def _choose_beta(
        self, kind: type[Stage[Any]], choices: tuple[float, ...]
    ) -> Trainer | Rehearsal:
        """Takes a temperature, and returns what trains the stage at it."""
        trainer, beta = self._trainer, choices[0]
        if isinstance(trainer, Rehearsal):
            trainer.next_times = len(choices)
        else:
            given, trial = cast(Any, self._given(kind, 0, 0)), partial(self._excess_at, kind)
            order = return_order(given.value, self._config, self._data.transitions)
            beta, trainer = choose_beta(choices, order, self._directory, trainer, trial)
        self._config = replace(self._config, beta=beta)
        return trainer

    def _excess_at(
        self, kind: type[Stage[Any]], beta: float, trainer: Trainer, directory: RunDirectory
    ) -> float:
        """Returns `prior_error_excess` of the policies that a temperature leads to."""
        trial = Pipeline(replace(self._config, beta=beta), self._data, trainer, directory)
        trial._finished = dict(self._finished)
        trial._train(kind)
        verdict = trial._verdict(0, trial._finished)
        return verdict.evidence["prior_error_excess"] if verdict else float("inf")

    @property
    def _configs(self) -> list[TrainConfig]:
        """The configuration of every member."""
        return [self._config] if self._grid is None else self._grid.configs(self._config)

    def _check_batches(self, names: Collection[str]) -> None:
        """Refuses a batch that a later stage cannot fill before an earlier one is trained."""
        found = {}
        for name in names:
            settings, rows = getattr(self._config, name), self._rows(self._stages[name])
            count = len(self._data.transitions if rows is None else rows[0])
            done = is_finished(self._directory.stage(name))
            if given_weights(self._config, name) is None and not done:
                found[name] = settings.batch_size, count
        check_batches(found)

    def _train(self, kind: type[Stage[Any]]) -> None:
        """Trains a stage of all its members, loads it, or takes its weights from elsewhere."""
        settings = getattr(self._config, kind.name)
        members, keys, labels, seeds = self._build(kind)
        folder, weights = self._directory.stage(kind.name), given_weights(self._config, kind.name)
        adopted = weights is not None and not is_finished(folder)
        report = None
        if weights is not None and adopted:
            report = StageReport(0, 0.0, 0.0, {}, source=weights)
            if not isinstance(self._trainer, Rehearsal):
                report = adopt(members, keys, weights, self._config, self._directory)
        joint = self._stack(kind, members) if labels else members[0]
        if report is not None:
            self._trainer.keep(joint, folder, report)
        trained = _Trained(members, joint, labels, getattr(settings, "policies", 1))
        self._reports[kind.name] = self._trainer.run(
            joint,
            self._data.transitions,
            steps=settings.steps,
            batch_size=settings.batch_size,
            folder=folder,
            members=Members(labels, seeds, self._rows(kind)) if labels else None,
            rows=None if labels else (self._rows(kind) or (None,))[0],
            weights=weights_of(settings, self._data.transitions),
            monitor=self._monitor(trained, settings.steps),
            steps_before=self._steps_before(kind.name),
            keep_others=self._grid is not None,
        )
        self._share(trained)
        self._finished[kind.name] = trained

    def _build(
        self, kind: type[Stage[Any]]
    ) -> tuple[list[Stage[Any]], list[MemberKey], tuple[str, ...], tuple[int, ...]]:
        """Returns the members of a stage with initial weights, what they are, the seeds of rows."""
        grid, policies = self._grid, getattr(getattr(self._config, kind.name), "policies", 1)
        own = self._configs
        betas = 1 if grid is None or not kind.follows_beta else len(grid.betas)
        of_seed = len(own) // len(self._probes)
        members: list[Stage[Any]] = []
        keys, labels, seeds = [], [], []
        for place in range(len(self._probes)):
            for policy in range(policies):
                given = self._given(kind, place, policy)
                configs = own[place * of_seed :][:betas]
                seeds.append(derived_seed(configs[0].seed, policy))
                for index, config in enumerate(configs):
                    beta = config.beta if kind.follows_beta else None
                    keys.append(MemberKey(config.seed, policy, beta))
                    config = replace(config, seed=seeds[-1])
                    members.append(build(kind, config, self._data.sizes, given))
                    labels.append(
                        member_label(grid, kind, place * of_seed + index, policy, policies)
                    )
        return members, keys, tuple(filter(None, labels)), tuple(seeds)

    def _given(self, kind: type[Stage[Any]], seed: int, policy: int) -> Given:
        """Returns what the finished stages of a seed, by its place, give to one of its members."""
        finished: dict[str, Stage[Any]] = {}
        for name, trained in self._finished.items():
            of_seed = len(trained.members) // len(self._probes)
            own = policy % trained.policies * (of_seed // trained.policies)
            finished[name] = trained.members[seed * of_seed + own]
        return give(kind, self._config, finished)

    def _stack(self, kind: type[Stage[Any]], members: Sequence[Stage[Any]]) -> Stage[Any]:
        """Returns the members as one stage, which builds on the finished stages of all seeds."""
        finished = {name: trained.joint for name, trained in self._finished.items()}
        seeds, betas = None, (self._config.beta,)
        if self._grid is not None:
            seeds, betas = len(self._probes), self._grid.betas
        place = self._data.transitions.actions.device
        beta = torch.tensor(betas, dtype=torch.float64, device=place) if kind.follows_beta else None
        return stacked(members, replace(give(kind, self._config, finished), beta=beta), seeds)

    def _rows(self, kind: type[Stage[Any]]) -> tuple[Tensor, ...] | None:
        """Returns the rows of each seed that a stage is trained on; None: all."""
        if not kind.held_out(getattr(self._config, kind.name)):
            return None
        return tuple(probes.trained_rows for probes in self._probes)

    def _monitor(self, trained: _Trained, steps: int) -> Any:
        """Returns what is measured of a stage while it trains: its check, its policies' scores."""
        labels, first = trained.labels or ("",), int(trained.joint.settled_after * steps)
        monitors = [
            Monitor(
                partial(member.check, self._probes_of(trained, index)),
                first_step=first,
                label=label,
            )
            for index, (member, label) in enumerate(zip(trained.members, labels, strict=True))
        ]
        curve = None
        if isinstance(trained.joint, ActorStage):
            scalings = self._data.observations, self._data.actions
            policy, evaluation = trained.joint.policy, self._config.evaluation
            curve = learning_curve(policy, *scalings, evaluation, trained.labels)

        kind, every = type(trained.joint), self._config.trainer.log_every
        batch_size = trained.joint.config.batch_size

        def watch(step: int) -> dict[str, float]:
            self._share(trained)
            due = is_due(step, steps, every, batch_size, kind.checked_rows)
            checks = monitors if due else []
            found = {name: n for monitor in checks for name, n in monitor(step).items()}
            return found if curve is None else found | curve(step)

        return watch

    def _probes_of(self, trained: _Trained, index: int) -> Probes:
        return self._probes[index * len(self._probes) // len(trained.members)]

    def _share(self, trained: _Trained) -> None:
        """Lets the members have the weights of what is trained in their place."""
        if trained.joint is not trained.members[0]:
            share(trained.joint, trained.members)

    def _steps_before(self, name: str) -> int:
        """Returns the steps of the usual stages before one, whether they are trained now or not."""
        before = list(self._stages)[: list(self._stages).index(name)]
        return sum(getattr(self._config, n).steps for n in before if self._stages[n].usual)

    def _places_of(self, trained: _Trained, index: int) -> list[int]:
        """Returns which members have the policies that act as one for a configuration."""
        configs, seeds = len(self._configs), len(self._probes)
        each = len(trained.members) // (seeds * trained.policies)
        first = index * seeds // configs * trained.policies * each
        beta = index % (configs // seeds) if each > 1 else 0
        return [first + k * each + beta for k in range(trained.policies)]

    def _labels_of(self, trained: _Trained, index: int) -> set[str]:
        return {
            trained.labels[p] if trained.labels else "" for p in self._places_of(trained, index)
        }

    def _members_of(self, trained: _Trained, index: int) -> list[Stage[Any]]:
        return [trained.members[place] for place in self._places_of(trained, index)]

    def _lost(self, index: int) -> tuple[str, ...]:
        """Returns the stages of a configuration that are lost, or build on one that is."""
        lost: list[str] = []
        for name, trained in self._finished.items():
            own = self._labels_of(trained, index)
            needs = self._stages[name].needs_for(getattr(self._config, name))
            builds_on = {self._stages.provider(need).name for need in needs}
            if own & set(self._reports[name].lost) or builds_on & set(lost):
                lost.append(name)
        return tuple(lost)

    def _results(self, index: int) -> MemberResults:
        found, data = MemberResults(lost=self._lost(index)), self._data
        probes = self._probes[index * len(self._probes) // len(self._configs)]
        whole = {n: its for n, its in self._finished.items() if n not in found.lost}
        for name, trained in whole.items():
            members = self._members_of(trained, index)
            first = members[0]
            if isinstance(first, ActorStage):
                place = self._config.evaluation.environment
                policy = mean_policy(members)
                agent = TrainedPolicy(policy, data.observations, data.actions, place)
                agent.interface = data.transitions.interface
                found.agents[name] = agent
                finding = first.check(probes) if len(members) == 1 else first.judge(policy, probes)
            else:
                finding = first.check(probes)
            if finding is not None:
                unmoved = self._reports[name].unmoved_of(self._labels_of(trained, index))
                found.findings[name] = finding.with_unmoved(unmoved)
        return replace(found, verdict=self._verdict(index, whole))

    def _verdict(self, index: int, finished: Mapping[str, _Trained]) -> Verdict | None:
        members = {name: self._members_of(its, index) for name, its in finished.items()}
        probes = self._probes[index * len(self._probes) // len(self._configs)]
        return verdict_of(members, self._configs[index], self._data.transitions, probes)
