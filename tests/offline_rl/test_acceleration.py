"""Precision, trackers, and launches that cannot work."""

import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from scoreregs_offline_rl import TrainConfig, TrainerConfig
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.training.acceleration import make_accelerator, tracked_settings
from tests.offline_rl.killable import configuration
from tests.offline_rl.rl_data import make_transitions


def small(**trainer):
    config = configuration("made up")
    trainer = replace(config.trainer, checkpoint_every=20, **trainer)
    behavior = replace(config.behavior, held_out=0)
    evaluation = replace(config.evaluation, episodes=0)
    return replace(config, trainer=trainer, behavior=behavior, evaluation=evaluation)


@pytest.fixture
def fresh():
    """Accelerate's settings are those of a process; these tests need several."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return train(small(), tmp_path_factory.mktemp("full"), data=make_transitions(400))


def test_low_precision_is_close_to_full(tmp_path, full, fresh):
    """Every stage, with weights that stay in float32."""
    low = train(small(mixed_precision="bf16"), tmp_path, data=make_transitions(400))
    for stage, report in full["stages"].items():
        weights = load_file(tmp_path / stage / "weights.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        for name, value in report["metrics"].items():
            other = low["stages"][stage]["metrics"][name]
            assert other == pytest.approx(value, rel=0.1, abs=0.1), (stage, name)
        assert low["stages"][stage]["metrics"] != report["metrics"]


def test_no_run_inherits_the_precision_of_another(tmp_path, fresh):
    train(small(mixed_precision="bf16"), tmp_path / "low", data=make_transitions(400))
    with pytest.raises(RunError, match="the precision 'no' after one in 'bf16': start a new"):
        train(small(), tmp_path / "full", data=make_transitions(400))
    assert not (tmp_path / "full").exists()
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(RunError, match=r"\(trainer.mixed_precision: 'bf16' before, None now\)"):
        train(small(), tmp_path / "low", data=make_transitions(400))


def test_a_precision_that_the_device_lacks(tmp_path, fresh):
    with pytest.raises(RunError, match=r"got fp16.*change --trainer\.mixed-precision"):
        train(small(mixed_precision="fp16"), tmp_path, data=make_transitions(400))


@pytest.mark.parametrize(
    ("tracker", "package"),
    [("wandb", "wandb,"), ("trackio", "trackio,"), ("tensorboard", r"'scoreregs\[trackers\]',")],
)
def test_a_tracker_that_is_not_installed(tmp_path, tracker, package, monkeypatch):
    monkeypatch.setattr("scoreregs_offline_rl.training.acceleration.get_available_trackers", list)
    with pytest.raises(RunError, match=rf"got the trackers \['{tracker}'\].*pip install {package}"):
        train(small(log_with=(tracker,)), tmp_path / "run", data=make_transitions(400))
    assert not (tmp_path / "run").exists()


def test_processes_wait_for_a_long_evaluation(tmp_path, fresh, monkeypatch):
    """The limit of every collective call reaches the process group; what is usual are minutes."""

    class AskedError(Exception):
        pass

    def ask(**options):
        raise AskedError(options["timeout"])

    launch = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    launch |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", ask)
    with pytest.raises(AskedError) as asked:
        make_accelerator(TrainerConfig(cpu=True), tmp_path)
    assert asked.value.args[0] >= timedelta(days=1)


def test_settings_for_trackers():
    settings = tracked_settings(TrainConfig("a.npz", trainer=TrainerConfig(log_every=7)))
    assert (settings["data"], settings["trainer.log_every"]) == ("a.npz", 7)
    assert (settings["beta"], settings["critic.expectile"]) == ("None", 0.7)
    assert all(isinstance(value, bool | str | int | float) for value in settings.values())


def test_tensorboard_without_duplicates_after_a_resume(tmp_path, caplog):
    """A run that is cut between a line of metrics and the next checkpoint shows each step once."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    class CutError(Exception):
        pass

    def cut(stage, step, steps, metrics):
        if (stage, step) == ("behavior", 17):
            raise CutError

    config, data = small(log_with=("tensorboard",)), make_transitions(400)
    with pytest.raises(CutError):
        train(config, tmp_path, data=data, progress=cut)
    with caplog.at_level(logging.INFO):
        train(config, tmp_path, data=data)
    folder = str(tmp_path / "scoreregs-offline-rl")
    events = reader.EventAccumulator(folder, {"scalars": 0}).Reload()
    steps = {"critic": (10, 20, 30), "behavior": (40, 50, 55), "policy": (91, 101, 107)}
    for stage, expected in steps.items():
        metric = "q" if stage == "policy" else "loss"
        scalars = events.Scalars(f"{stage}/{metric}")
        assert tuple(scalar.step for scalar in scalars) == expected
        lines = (tmp_path / stage / "metrics.jsonl").read_text().splitlines()
        written = [json.loads(line)[metric] for line in lines]
        assert [scalar.value for scalar in scalars] == pytest.approx(written, rel=1e-5)
