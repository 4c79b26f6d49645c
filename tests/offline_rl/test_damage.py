"""Checkpoints and finished stages whose files are damaged, gone, or not those of their name."""

import json
import pickle
import shutil
import traceback

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.training.stage_files import is_finished
from tests.offline_rl.test_trainer import (
    InterruptionError,
    assert_same_outcome,
    interrupt_at,
    make_stage,
    run,
)

FILES = ("model.safetensors", "optimizer.bin", "random_states_0.pkl", "trainer.json")


class Danger:
    def __reduce__(self):
        return print, ("unpickled",)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path):
    """What is left of a file that was renamed before its blocks were on the disk."""
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


def unpickle(path):
    path.write_bytes(pickle.dumps(Danger()))


def assert_no_advice_to_unpickle(error):
    told = "".join(traceback.format_exception(error))
    assert "weights_only" not in told
    assert "pickl" not in told.lower()
    assert "\n" not in str(error)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


@pytest.fixture
def interrupted(tmp_path):
    """A stage of 13 steps that was stopped at its 12th, with checkpoints of the 5th and 10th."""
    with pytest.raises(InterruptionError):
        run(tmp_path, progress=interrupt_at(12))
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, zero, unpickle, lambda path: path.unlink()])
def test_a_damaged_checkpoint(interrupted, whole, capsys, name, damage):
    newest = interrupted / "checkpoints/step-000000010"
    assert sorted(path.name for path in newest.iterdir()) == sorted(FILES)
    damage(newest / name)
    with pytest.raises(RunError, match=r"damaged checkpoint, .*step-000000010 \(") as caught:
        run(interrupted)
    assert_no_advice_to_unpickle(caught.value)
    assert "unpickled" not in capsys.readouterr().out
    assert str(caught.value).endswith("goes on from step-000000005")
    # What the message says to do is done, and the stage ends as if nothing had been.
    shutil.rmtree(newest)
    run(interrupted)
    assert_same_outcome(interrupted, whole)


def test_the_only_checkpoint(interrupted):
    shutil.rmtree(interrupted / "checkpoints/step-000000005")
    cut(interrupted / "checkpoints/step-000000010/model.safetensors")
    with pytest.raises(RunError, match="goes on from its start"):
        run(interrupted)


def test_one_number_that_changed(interrupted):
    """No reader would notice it."""
    path = interrupted / "checkpoints/step-000000010/model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1e-3
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RunError, match="damaged checkpoint"):
        run(interrupted)


def test_a_checkpoint_under_the_name_of_another_step(interrupted):
    folder = interrupted / "checkpoints"
    (folder / "step-000000010").rename(folder / "step-000000011")
    with pytest.raises(RunError, match=r"damaged checkpoint, .*step-000000011"):
        run(interrupted)


def test_a_checkpoint_of_an_earlier_version_has_no_digests(interrupted, whole):
    path = interrupted / "checkpoints/step-000000010/trainer.json"
    state = json.loads(path.read_text())
    assert sorted([*state.pop("sha256"), "trainer.json"]) == sorted(FILES)
    path.write_text(json.dumps(state))
    resumed = []
    run(interrupted, progress=lambda stage, step, steps, metrics: resumed.append(step))
    assert resumed[0] == 11
    assert_same_outcome(interrupted, whole)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin"])
@pytest.mark.parametrize("damage", [cut, unpickle])
def test_a_damaged_checkpoint_of_an_earlier_version(interrupted, capsys, name, damage):
    """Here the readers themselves have to notice."""
    newest = interrupted / "checkpoints/step-000000010"
    state = json.loads((newest / "trainer.json").read_text())
    del state["sha256"]
    (newest / "trainer.json").write_text(json.dumps(state))
    damage(newest / name)
    with pytest.raises(RunError, match="damaged checkpoint") as caught:
        run(interrupted)
    assert_no_advice_to_unpickle(caught.value)
    assert "unpickled" not in capsys.readouterr().out


def test_a_stage_whose_weights_are_gone_is_not_finished(tmp_path, whole):
    run(tmp_path)
    assert is_finished(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    assert not is_finished(tmp_path)
    run(tmp_path)
    assert_same_outcome(tmp_path, whole)


REPORTS = {"cut": '{"steps": 1', "a list": "[]", "null": "null", "another record": '{"a": 1}'}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_something_else(tmp_path, name):
    run(tmp_path)
    (tmp_path / "report.json").write_text(REPORTS[name])
    with pytest.raises(RunError, match=r"report\.json"):
        run(tmp_path)


def test_weights_of_another_kind(tmp_path):
    run(tmp_path)
    path = tmp_path / "weights.safetensors"
    whole = load_file(path)
    for changed in (
        {name: tensor.half() for name, tensor in whole.items()},
        {name: tensor[:1] for name, tensor in whole.items()},
        {**whole, "more": torch.ones(1)},
        dict(list(whole.items())[1:]),
    ):
        save_file(changed, path)
        with pytest.raises(RunError, match=r"weights of another size in .*give the sizes that"):
            run(tmp_path)
    save_file({name: tensor * torch.nan for name, tensor in whole.items()}, path)
    with pytest.raises(RunError, match="not finite"):
        run(tmp_path)
    cut(path)
    with pytest.raises(RunError, match="cannot read"):
        run(tmp_path)


def test_weights_that_are_not_finite_finish_no_stage(tmp_path, monkeypatch):
    """The last step may break them, after the last loss was looked at."""
    stage = type(make_stage("critic"))
    whole = stage.state_dict

    def broken(self, *arguments, **options):
        state = whole(self, *arguments, **options)
        next(iter(state.values())).view(-1)[0] = torch.nan
        return state

    with monkeypatch.context() as patch:
        patch.setattr(stage, "state_dict", broken)
        with pytest.raises(RunError, match=r"not finite for .*weights\.safetensors"):
            run(tmp_path, checkpoint_every=100)
    assert not is_finished(tmp_path)
