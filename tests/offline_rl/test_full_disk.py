"""A disk that fills up while a run is trained: one line, and nothing that was there is lost."""

import shutil
import subprocess
import sys

import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    RunError,
    TrainConfig,
    TrainerConfig,
    train,
)
from scoreregs_offline_rl.files import save_json, save_tensors
from tests.offline_rl.rl_data import make_transitions

SIZE = 2**21
# Kilobytes that are free when a run begins; the last of them are enough for all of it.
ROOM = (0, 16, 48, 120, 1900)


@pytest.fixture
def disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if not made or made.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    # Lazily: what a traceback holds open does not keep it.
    subprocess.run([shutil.which("umount") or "umount", "-l", str(place)], check=True)


def configuration():
    return TrainConfig(
        "arrays",
        beta=0.1,
        action_low=(-1.0,),
        action_high=(1.0,),
        critic=CriticConfig(steps=10, batch_size=16, width=16),
        behavior=BehaviorConfig(steps=10, batch_size=16, width=16, held_out=0),
        policy=PolicyConfig(steps=10, batch_size=16, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=1, checkpoint_every=5, keep_checkpoints=1, cpu=True),
    )


def trouble_of(run_dir, stages, data):
    """What a run says that cannot go on."""
    try:
        train(configuration(), run_dir, stages=stages, data=data)
    except RunError as error:
        return str(error)
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
def test_a_run_goes_on_when_there_is_room_again(disk, tmp_path):
    stages, data = ("critic", "behavior", "policy"), make_transitions()
    train(configuration(), tmp_path / "whole", stages=stages, data=data)
    failed = []
    for room in ROOM:
        (disk / "filler").write_bytes(bytes(SIZE - 1024 * room - 2 * 4096))
        run_dir = disk / f"run-{room}"
        if said := trouble_of(run_dir, stages, data):
            assert "No space left on device" in said
            assert "\n" not in said
            failed.append(said.split(":")[0])
        (disk / "filler").unlink()
        train(configuration(), run_dir, stages=stages, data=data)
        for stage in stages:
            for name in (f"{stage}/weights.safetensors", "agent/model.safetensors"):
                assert (run_dir / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not list(run_dir.rglob("*partial*"))
        shutil.rmtree(run_dir)
    assert 2 < len(failed) < len(ROOM), failed
    assert any("step-" in text for text in failed), failed


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files")
def test_a_limit_of_a_files_size_is_one_line(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        for save in (
            lambda: save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1000)}),
            lambda: save_json(tmp_path / "a.json", {"a": "a" * 1000}),
        ):
            with pytest.raises(RunError, match=r"cannot write .*: File too large"):
                save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_another_error_is_not_the_disks(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_json(tmp_path / "a.json", {"a": float("nan")})
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_json(tmp_path / "file" / "a.json", {})
