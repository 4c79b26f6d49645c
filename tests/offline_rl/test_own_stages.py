"""Stages from outside the package: swept as alone, resumed to the bit, refused in one line."""

import dataclasses
import os
import signal
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    ActorConfig,
    ActorStage,
    AWRConfig,
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    Finding,
    InterruptedRun,
    PolicyConfig,
    PriorStage,
    RunError,
    Stage,
    SweepGrid,
    TD3BCConfig,
    TD3BCStage,
    TrainConfig,
    TrainerConfig,
    ValueStage,
    diagnose,
    evaluate_run,
    load_models,
    row,
    sweep,
    train,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.files import load_tensors
from scoreregs_offline_rl.stages.registry import stages_of
from tests.offline_rl.rl_data import make_transitions

GRID = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))


@dataclass(frozen=True)
class ClimbConfig(ActorConfig):
    """A weight of the value."""

    weight: float = 0.5


class ClimbStage(ActorStage[ClimbConfig]):
    """Clones and climbs, and stays where the prior is: it needs both."""

    name = "climb"
    label = "climbing clone"
    help = "Climb."
    needs = (ValueStage, PriorStage)

    def forward(self, batch, randoms):
        """The loss, on the last axes alone."""
        action = self.policy(batch.observations)
        q = self.value(action, batch.observations)
        error = (action - batch.actions).square().sum(-1)
        loss = (error - self.config.weight * q).mean(-1)
        return loss, {"loss": loss.detach(), "q": q.detach().mean(-1)}


@dataclass(frozen=True)
class MyConfig(TrainConfig):
    """The package's stages and one more."""

    climb: ClimbConfig = row(ClimbStage, ClimbConfig)


@pytest.fixture(scope="module")
def data():
    return make_transitions(400)


def configuration(kind: type[TrainConfig] = MyConfig, **changes: Any) -> Any:
    config = kind(
        data="made",
        beta=0.1,
        critic=CriticConfig(steps=12, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=12, batch_size=32, width=16, blocks=1),
        policy=PolicyConfig(steps=12, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )
    return replace(config, **changes)


ALL = ("critic", "behavior", "cloning", "awr", "td3_bc", "policy", "climb")


@pytest.fixture(scope="module")
def swept(data, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("swept")
    sweep(configuration(), run_dir, grid=GRID, stages=ALL, data=data)
    return run_dir


def test_each_member_of_every_policy_is_near_training_it_alone(data, swept, tmp_path):
    """Batched products round in another way; in double precision see `test_sweep`."""
    config = configuration(seed=3, beta=0.5)
    train(config, tmp_path, stages=ALL, data=data)
    for name in ALL:
        stacked = load_tensors(swept / name / "weights.safetensors")
        alone = load_tensors(tmp_path / name / "weights.safetensors")
        assert stacked.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(stacked[key][-1], value, rtol=0, atol=2e-4)
    agents = {path.name for path in (swept / "members/seed-3_beta-0.5").iterdir() if path.is_dir()}
    assert agents == {"agent", "awr_agent", "cloning_agent", "td3_bc_agent", "climb_agent"}


@pytest.mark.parametrize("stage", ["climb", "td3_bc", "cloning"])
def test_interrupted_it_ends_as_if_it_had_not(data, tmp_path, stage):
    def stop(running, done, steps, metrics):
        if (running, done) == (stage, 7):
            os.kill(os.getpid(), signal.SIGTERM)

    stages = ("critic", "behavior", stage)
    train(configuration(), tmp_path / "whole", stages=stages, data=data)
    with pytest.raises(InterruptedRun):
        train(configuration(), tmp_path / "cut", stages=stages, data=data, progress=stop)
    train(configuration(), tmp_path / "cut", stages=stages, data=data)
    files = [tmp_path / d / stage / "weights.safetensors" for d in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_sweeps_take_finished_weights(data, swept, tmp_path):
    """Each seed those of its own in a sweep, all the same of a run."""
    run = tmp_path / "run"
    train(configuration(), run, stages=("critic",), data=data)
    config = configuration()
    config = replace(
        config,
        critic=replace(config.critic, weights=str(run)),
        behavior=replace(config.behavior, weights=str(swept)),
    )
    sweep(config, tmp_path / "sweep", grid=replace(GRID, seeds=(3,)), data=data)
    given = load_tensors(run / "critic/weights.safetensors")
    taken = load_tensors(tmp_path / "sweep/critic/weights.safetensors")
    assert all(torch.equal(taken[name][0], value) for name, value in given.items())
    given = load_tensors(swept / "behavior/weights.safetensors")
    taken = load_tensors(tmp_path / "sweep/behavior/weights.safetensors")
    assert all(torch.equal(taken[name][0], value[1]) for name, value in given.items())
    with pytest.raises(RunError, match=r"sweep of the seeds \[0, 3\].*expected seed 7"):
        sweep(config, tmp_path / "other", grid=replace(GRID, seeds=(7,)), data=data)


@dataclass(frozen=True)
class TakenConfig(ClimbConfig):
    """A policy whose weights may come from elsewhere."""

    weights: str | None = None


class TakenStage(ActorStage[TakenConfig]):
    """One policy for each temperature."""

    name, label, help = "taken", "taken", "Take."
    needs = (ValueStage,)
    follows_beta = True
    forward = ClimbStage.forward


@dataclass(frozen=True)
class TakenRows(TrainConfig):
    """The package's stages and that one."""

    taken: TakenConfig = row(TakenStage, TakenConfig)


@pytest.mark.parametrize("policies", [1, 2])
def test_policies_are_taken_from_sweeps_and_runs(data, tmp_path, policies):
    """Each member that of its seed and temperature, each of several policies its own."""
    stages = ("critic", "taken")
    config = replace(configuration(TakenRows), taken=TakenConfig(policies=policies))
    sweep(config, tmp_path / "source", grid=GRID, stages=stages, data=data)
    taken = replace(config.taken, weights=str(tmp_path / "source"))
    config = replace(config, taken=taken, seed=3, beta=0.5)
    grid = SweepGrid(seeds=(3, 0), betas=(0.5,))
    table = sweep(config, tmp_path / "sweep", grid=grid, stages=stages, data=data)
    assert table.values.shape == (2, 1)
    train(config, tmp_path / "run", stages=stages, data=data)
    again = replace(config, taken=replace(taken, weights=str(tmp_path / "run")))
    sweep(again, tmp_path / "again", grid=grid, stages=stages, data=data)
    source, swept, run, again = (
        load_tensors(tmp_path / folder / "taken/weights.safetensors")
        for folder in ("source", "sweep", "run", "again")
    )
    for name, values in source.items():
        of = values.unflatten(0, (2, policies, 2))
        assert torch.equal(swept[name].unflatten(0, (2, policies)), of[:, :, 1].flip(0))
        assert torch.equal(run[name], of[1, :, 1] if policies > 1 else of[1, 0, 1])
        assert torch.equal(
            again[name].unflatten(0, (2, policies)), of[1:, :, 1].expand_as(of[:, :, 1])
        )
    with pytest.raises(
        RunError, match=r"of the seeds \[0, 3\].*expected seed 3, .*temperature 0.7"
    ):
        train(replace(config, beta=0.7), tmp_path / "other", stages=stages, data=data)


def test_a_run_with_own_stages_is_read_by_its_class_or_refused(data, tmp_path):
    stages = ("critic", "behavior", "policy", "climb")
    train(configuration(), tmp_path, stages=stages, data=data)
    assert "climb" in load_models(tmp_path, MyConfig).stages
    assert set(diagnose(tmp_path, data, MyConfig)) == set(stages)
    with pytest.raises(RunError, match=r"\['climb'\].*configuration class"):
        load_models(tmp_path)


def test_policies_of_own_stages_are_evaluated_without_the_class(tmp_path):
    config = replace(configuration(), data="pendulum-swingup")
    config = replace(config, evaluation=EvaluationConfig(episodes=1))
    train(config, tmp_path, stages=("critic", "behavior", "climb"))
    assert set(evaluate_run(tmp_path, 1)) == {"climb"}
    assert main(["report", str(tmp_path), "--picture", str(tmp_path / "a.png")]) == 0


class UnmetStage(ActorStage[ActorConfig]):
    """Needs what there is not."""

    class Dreams(Stage[ActorConfig]):
        """No row is one."""

    name, label, help = "unmet", "unmet", "Dream."
    needs = (Dreams,)

    def forward(self, batch, randoms):
        """Never called."""
        raise NotImplementedError


class CriticLike(ActorStage[ActorConfig]):
    """Another stage's name."""

    name, label, help = "critic", "critic", "Clash."
    forward = UnmetStage.forward


def test_what_cannot_be_a_stage_is_refused_before_anything_is_trained(data, tmp_path):
    @dataclass(frozen=True)
    class Unmet(TrainConfig):
        unmet: ActorConfig = row(UnmetStage, ActorConfig)

    @dataclass(frozen=True)
    class Misnamed(TrainConfig):
        other: ClimbConfig = row(ClimbStage, ClimbConfig)

    @dataclass(frozen=True)
    class Clashing(TrainConfig):
        critic: ActorConfig = row(CriticLike, ActorConfig)  # pyright: ignore

    with pytest.raises(ArgumentError, match=r"needs a Dreams, and no row of Unmet"):
        stages_of(Unmet)
    with pytest.raises(ArgumentError, match=r"row 'other' of Misnamed .* whose name is 'climb'"):
        stages_of(Misnamed)
    with pytest.raises(ArgumentError, match=r"called .critic., which is"):
        stages_of(Clashing)
    with pytest.raises(ArgumentError, match=r"MyConfig.climb = TD3BCConfig, expected ClimbConfig"):
        configuration(climb=TD3BCConfig())
    with pytest.raises(RunError, match=r"expected some of critic, .*climb"):
        train(configuration(), tmp_path, stages=("dream",), data=data)
    with pytest.raises(RunError, match="expected one with a policy among them"):
        sweep(configuration(), tmp_path, grid=GRID, stages=("critic",), data=data)
    assert not list(tmp_path.iterdir())


def test_stages_that_need_each_other():
    class First(ValueStage[ActorConfig]):
        name, label, help = "first", "first", "First."
        needs = (PriorStage,)

    class Second(PriorStage[ActorConfig]):
        name, label, help = "second", "second", "Second."
        needs = (ValueStage,)

    @dataclass(frozen=True)
    class Circular(TrainConfig):
        first: ActorConfig = row(First, ActorConfig)
        second: ActorConfig = row(Second, ActorConfig)

    with pytest.raises(ArgumentError, match="need each other"):
        stages_of(Circular)


def test_where_taken_weights_came_from_may_move(data, tmp_path):
    """Once they are in the run directory, their old place no longer counts."""
    source = tmp_path / "source"
    train(configuration(), source, stages=("critic",), data=data)
    config = configuration()
    config = replace(config, critic=replace(config.critic, weights=str(source)))
    train(config, tmp_path / "run", stages=("critic", "behavior"), data=data)
    source.rename(tmp_path / "moved")
    moved = replace(config, critic=replace(config.critic, weights=str(tmp_path / "moved")))
    train(moved, tmp_path / "run", stages=("critic", "behavior", "policy"), data=data)


class Baseline(ClimbStage):
    """An older stage's name."""

    name = "baseline"


class Trainer(ClimbStage):
    """A setting's name."""

    name = "trainer"


class Unlabelled(ActorStage[ActorConfig]):
    """Without a label."""

    name, help = "unlabelled", "Nothing."
    forward = UnmetStage.forward


class Unbracketed(ClimbStage):
    """Needs that are no tuple."""

    name = "unbracketed"
    needs = ValueStage  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True)
class BareConfig:
    """No settings of a policy."""

    steps: int = 1
    batch_size: int = 1


class UntypedStage(Stage):
    """Says nothing of its settings."""

    name, label, help = "untyped", "untyped", "Nothing."


@pytest.mark.parametrize(
    ("stage", "config", "message"),
    [
        (Baseline, ClimbConfig, "called 'baseline', which is"),
        (Trainer, ClimbConfig, "called 'trainer', which is"),
        (Unlabelled, ActorConfig, "Unlabelled without label"),
        (Unbracketed, ClimbConfig, "expected a tuple of kinds of stages"),
        (ClimbStage, BareConfig, "BareConfig for ClimbStage, expected ClimbConfig"),
        (TD3BCStage, AWRConfig, "AWRConfig for TD3BCStage, expected TD3BCConfig"),
        (ClimbStage, ClimbConfig(), "expected ClimbConfig or a class"),
        (UntypedStage, int, "a dataclass with steps and batch_size"),
    ],
)
def test_clashing_names_and_missing_words_are_refused(stage, config, message):
    def configure():
        columns = [(stage.name, config, row(stage, config))]
        bases = (TrainConfig,)
        return dataclasses.make_dataclass("Rows", columns, bases=bases, frozen=True)(data="made")

    with pytest.raises(ArgumentError, match=message):
        configure()


class CheckedStage(ClimbStage):
    """With a check of its own."""

    def check(self, probes):
        """Always the same."""
        return Finding("climb", 99.0, 1.0, "it is what it is")


def test_a_check_of_its_own_counts(data, tmp_path):
    @dataclass(frozen=True)
    class Checked(TrainConfig):
        climb: ClimbConfig = row(CheckedStage, ClimbConfig)

    result = train(
        configuration(Checked), tmp_path, stages=("critic", "behavior", "climb"), data=data
    )
    assert result["health"]["climb"]["measured"] == 99.0


def test_policies_that_follow_no_temperature_need_none(data, tmp_path):
    config = replace(configuration(), beta=None, awr=AWRConfig(steps=4, policies=2))
    train(config, tmp_path, stages=("critic", "awr"), data=data)
    assert len(load_tensors(tmp_path / "awr/weights.safetensors")["policy.net.0.bias"]) == 2


def test_what_cannot_be_built_is_refused_before_anything_is_trained(data, tmp_path):
    steps = []
    config = configuration()
    config = replace(config, policy=replace(config.policy, log_snr=(-60.0, -50.0)))
    with pytest.raises(ArgumentError, match="log-SNR between -60 and -50"):
        train(config, tmp_path, data=data, progress=lambda *step: steps.append(step))
    with pytest.raises(ArgumentError, match="log-SNR between -60 and -50"):
        sweep(
            config,
            tmp_path / "sweep",
            grid=GRID,
            data=data,
            progress=lambda *step: steps.append(step),
        )
    assert steps == []


def test_one_stage_is_named_by_itself(data, tmp_path):
    assert set(train(configuration(), tmp_path, stages="critic", data=data)["stages"]) == {"critic"}
    sweep(configuration(), tmp_path / "sweep", grid=GRID, stages="td3-bc", data=data)
    with pytest.raises(RunError, match=r"got the stages \['polcy'\].*did you mean 'policy'"):
        train(configuration(), tmp_path, stages="polcy", data=data)


def test_a_clone_of_other_sizes_is_refused_in_one_line(data, tmp_path):
    config = configuration()
    config = replace(
        config,
        cloning=CloningConfig(steps=4, width=8),
        policy=replace(config.policy, start="cloning"),
    )
    with pytest.raises(RunError, match="clone of other sizes"):
        train(config, tmp_path, data=data)


def test_the_preset_for_laptops_on_the_command_line(tmp_path, capsys):
    words = ["train", "--data", "pendulum-swingup", "--preset", "laptop", "--run-dir"]
    stages = ("critic", "behavior", "cloning", "awr", "policy")
    small = [f"--{name}.{size}" for name in stages for size in ("steps=2", "width=16")]
    assert main([*words, str(tmp_path), *small, "--evaluation.episodes=1"]) == 0
    assert "SRPO: return" in capsys.readouterr().out
    assert main(["train", "--run-dir", str(tmp_path), "--stages", "critic", "baseline"]) == 0


OUTCOMES = {
    "a tensor of shape": lambda loss: loss,
    "a tuple of 3 from": lambda loss: (loss, {}, None),
    "a list as the metric": lambda loss: (loss, {"loss": [1.0]}),
    "a float as the metric 'loss'.*item": lambda loss: (loss, {"loss": loss.item()}),
    "no metrics from": lambda loss: (loss, {}),
    "a float as the loss": lambda loss: (loss.item(), {"loss": loss}),
    "loss without a gradient": lambda loss: (loss.detach(), {"loss": loss}),
    r"the loss of climb of shape \(4,\), expected \(\), its mean": lambda loss: (
        loss.expand(4),
        {"loss": loss},
    ),
    r"metric 'rows' of climb of shape \(4,\)": lambda loss: (loss, {"rows": loss.expand(4)}),
}


@pytest.mark.parametrize("message", OUTCOMES)
def test_a_loss_that_is_none_is_refused_before_anything_is_trained(data, tmp_path, message):
    class Wrong(ClimbStage):
        def forward(self, batch, randoms):
            return OUTCOMES[message](super().forward(batch, randoms)[0])

    @dataclass(frozen=True)
    class Rows(TrainConfig):
        climb: ClimbConfig = row(Wrong, ClimbConfig)

    stages = ("critic", "behavior", "climb")
    with pytest.raises(ArgumentError, match=message):
        train(configuration(Rows), tmp_path, stages=stages, data=data)
    assert not (tmp_path / "critic").exists()


def test_a_loss_over_all_members_is_refused(data, tmp_path):
    """Its gradient would be that of each member over their number."""

    class Mixing(ClimbStage):
        def forward(self, batch, randoms):
            loss = self.policy(batch.observations).square().mean()
            return loss, {"loss": loss.detach()}

    @dataclass(frozen=True)
    class Rows(TrainConfig):
        climb: ClimbConfig = row(Mixing, ClimbConfig)

    with pytest.raises(ArgumentError, match=r"of shape \(\), expected \(2,\), one for each"):
        sweep(
            configuration(Rows),
            tmp_path,
            grid=GRID,
            stages=("critic", "behavior", "climb"),
            data=data,
        )
