"""The training loop: interruptions, checkpoints, metrics, processes."""

import json
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from scoreregs_offline_rl import (
    STAGES,
    AWRConfig,
    BehaviorConfig,
    CriticConfig,
    PolicyConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.randoms import EpochSampler, generator_for, seeded
from scoreregs_offline_rl.stages.awr import AWRStage
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.cloning import CloningConfig, CloningStage
from scoreregs_offline_rl.stages.critic import CriticStage, TwinValue
from scoreregs_offline_rl.stages.networks import DiracPolicy, EnsembleQ
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stage import Given
from scoreregs_offline_rl.stages.td3_bc import TD3BCConfig, TD3BCStage
from scoreregs_offline_rl.training import checkpoints as checkpoints_module
from scoreregs_offline_rl.training.metrics import MetricsFile
from scoreregs_offline_rl.training.trainer import Trainer, no_progress
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions

STEPS, BATCH = 13, 16
SIZES = (OBSERVATION, ACTION)


class InterruptionError(Exception):
    pass


def make_stage(name):
    with seeded(0, name):
        critic = CriticStage(*SIZES, CriticConfig(width=16))
        behavior = BehaviorStage(*SIZES, BehaviorConfig(width=16))
        policy = DiracPolicy(*SIZES, width=16)
    if name == "critic":
        return critic
    if name == "behavior":
        return behavior
    if name == "awr":
        return AWRStage(policy, AWRConfig(steps=STEPS), Given(TwinValue(critic.critic)))
    if name == "cloning":
        return CloningStage(policy, CloningConfig(steps=STEPS))
    if name == "td3_bc":
        with seeded(0, name):
            return TD3BCStage(policy, EnsembleQ(*SIZES, width=16), TD3BCConfig(steps=STEPS))
    config = PolicyConfig(steps=STEPS)
    return PolicyStage(policy, TwinValue(critic.critic), behavior.prior, config, beta=0.1)


def make_trainer(progress=no_progress, **settings):
    config = replace(TrainerConfig(log_every=4, checkpoint_every=5), **settings)
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    return Trainer(accelerator, config, seed=0, progress=progress)


def run(folder, name="critic", progress=no_progress, **settings):
    stage = make_stage(name)
    trainer = make_trainer(progress, **settings)
    report = trainer.run(stage, make_transitions(), steps=STEPS, batch_size=BATCH, folder=folder)
    return stage, report


def interrupt_at(last):
    def progress(stage, step, steps, metrics):
        if step == last:
            raise InterruptionError

    return progress


def metrics_of(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: v for name, v in record.items() if name != "seconds"} for record in records]


def assert_same_outcome(folder, reference):
    name = "weights.safetensors"
    assert (folder / name).read_bytes() == (reference / name).read_bytes()
    assert metrics_of(folder) == metrics_of(reference)


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("name", STAGES)
def test_the_loop_is_a_plain_loop(tmp_path, name, draws):
    """A loop written out by hand, with the same batches and noise, ends at the same weights."""
    stage, data = make_stage(name), make_transitions()
    optimizer, scheduler = stage.optimizer()
    sampler = EpochSampler(len(data), BATCH, seed=0, purpose=stage.stream())
    of_block = generator_for(0, stage.stream(), 0)
    for step in range(STEPS):
        of_step = generator_for(0, stage.stream(), step)
        randoms = stage.draw(BATCH, of_step if draws == 1 else of_block)
        loss, _ = stage(data.select(sampler(step)), randoms)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        stage.after_step()
    trained, report = run(tmp_path, name, draws=draws)
    saved = load_file(tmp_path / "weights.safetensors")
    torch.testing.assert_close(trained.state_dict(), stage.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(saved, dict(stage.state_dict()), rtol=0, atol=0)
    assert report.steps == STEPS
    assert metrics_of(tmp_path)[-1] == {"step": STEPS, **report.metrics}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("moment", [3, 7, 10])
def test_an_interrupted_stage_ends_as_an_uninterrupted_one(tmp_path, name, moment):
    run(tmp_path / "whole", name)
    with pytest.raises(InterruptionError):
        run(tmp_path / "cut", name, interrupt_at(moment))
    resumed = []
    run(tmp_path / "cut", name, lambda stage, step, steps, metrics: resumed.append(step))
    assert resumed[0] == moment // 5 * 5 + 1
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


def test_twice_interrupted(tmp_path):
    run(tmp_path / "whole")
    for moment in (7, 12):
        with pytest.raises(InterruptionError):
            run(tmp_path / "cut", progress=interrupt_at(moment))
    run(tmp_path / "cut")
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("broken", ["save_state", "save_json"])
def test_an_interrupted_checkpoint_is_never_picked_up(tmp_path, monkeypatch, broken):
    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        if broken == "save_state":
            whole = Accelerator.save_state

            def save_state(accelerator, folder):
                whole(accelerator, folder)
                if folder.endswith("step-000000010.partial"):
                    (tmp_path / "cut/checkpoints/step-000000010.partial/optimizer.bin").unlink()
                    raise InterruptionError

            patch.setattr(Accelerator, "save_state", save_state)
        else:

            def save(path, content):
                if content["step"] == 10:
                    raise InterruptionError
                save_json(path, content)

            patch.setattr(checkpoints_module, "save_json", save)
        with pytest.raises(InterruptionError):
            run(tmp_path / "cut")
    folder = tmp_path / "cut/checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-000000005",
        "step-000000010.partial",
    ]
    resumed = []
    run(tmp_path / "cut", progress=lambda stage, step, steps, metrics: resumed.append(step))
    assert resumed[0] == 6
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")
    assert not list(folder.glob("*.partial"))


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run(tmp_path, checkpoint_every=2, keep_checkpoints=2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000010", "step-000000012"]


def test_a_finished_stage_is_loaded(tmp_path):
    first, report = run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second, again = run(tmp_path, progress=interrupt_at(1))
    assert again == report
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_weights_without_a_report_are_not_a_finished_stage(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "cut")
    (tmp_path / "cut/report.json").unlink()
    run(tmp_path / "cut")
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


def test_metrics_are_means_over_the_interval(tmp_path):
    run(tmp_path / "each", log_every=1)
    run(tmp_path / "four")
    each, four = metrics_of(tmp_path / "each"), metrics_of(tmp_path / "four")
    assert [record["step"] for record in four] == [4, 8, 12, 13]
    expected = sum(record["q_loss"] for record in each[4:8]) / 4
    assert four[1]["q_loss"] == pytest.approx(expected, rel=1e-6)


def test_a_torn_line_of_metrics_is_dropped(tmp_path):
    log = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        log.append({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    log.truncate(10)
    assert [record["step"] for record in metrics_of(tmp_path)] == [1, 2, 3]
    log.truncate(2)
    assert [record["step"] for record in metrics_of(tmp_path)] == [1, 2]


def test_divergence_is_an_error(tmp_path):
    data = make_transitions()
    data = replace(data, rewards=torch.full_like(data.rewards, 1e30))
    with pytest.raises(RunError, match=r"got loss = inf in the critic stage up to step 4"):
        make_trainer().run(
            make_stage("critic"), data, steps=STEPS, batch_size=BATCH, folder=tmp_path
        )


def test_the_global_generator_does_not_matter(tmp_path):
    torch.manual_seed(1)
    run(tmp_path / "one", "behavior")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    run(tmp_path / "two", "behavior")
    assert torch.get_rng_state().equal(state)
    assert_same_outcome(tmp_path / "one", tmp_path / "two")


def test_the_learning_rate_ends_at_zero(tmp_path):
    run(tmp_path, "policy", checkpoint_every=STEPS)
    state = torch.load(tmp_path / f"checkpoints/step-{STEPS:09d}/optimizer.bin", weights_only=True)
    assert state["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-12)
