"""One directory, one job."""

import errno
import json
import os
import signal
import socket
import sys
from contextlib import contextmanager, suppress

import pytest
from accelerate import Accelerator

from scoreregs_offline_rl import (
    CriticConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    rehearse,
    sweep,
    train,
)
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs import lock
from scoreregs_offline_rl.runs.lock import LOCK, holding
from tests.offline_rl.rl_data import make_transitions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")
CONFIG = TrainConfig(
    "arrays",
    action_low=(-2.0,),
    action_high=(2.0,),
    critic=CriticConfig(steps=4, batch_size=8, width=8),
    trainer=TrainerConfig(cpu=True, log_every=2),
)


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


@contextmanager
def another_process(directory, accelerator):
    """A process that holds the directory until the block ends."""
    ready, ends = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with holding(directory, accelerator):
                os.write(ready[1], b"x")
                os.close(ends[1])
                os.read(ends[0], 1)
        finally:
            os._exit(0)
    os.read(ready[0], 1)
    try:
        yield child
    finally:
        os.write(ends[1], b"x")
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        for end in (*ready, *ends):
            os.close(end)


def train_critic(directory, **more):
    return train(CONFIG, directory, stages=["critic"], data=make_transitions(), **more)


def train_sweep(directory):
    """A sweep in what then looks like the directory of one."""
    save_json(directory / "grid.json", {"seeds": [0], "betas": [0.1]})
    try:
        return sweep(CONFIG, directory, grid=SweepGrid((0,), (0.1,)), data=make_transitions())
    finally:
        (directory / "grid.json").unlink()


def what_lies_in(directory):
    return {p: p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_second_is_told_who_is_first_and_writes_nothing(tmp_path, accelerator):
    train_critic(tmp_path)
    (tmp_path / "critic" / ".weights.1.partial.safetensors").write_text("being written")
    with another_process(tmp_path, accelerator) as child:
        before = what_lies_in(tmp_path)
        host = socket.gethostname()
        for job in (train_critic, train_sweep):
            with pytest.raises(RunError, match=rf"process, {child} on {host}, since 2\d\d\d-.*T"):
                job(tmp_path)
        assert what_lies_in(tmp_path) == before
    assert not (tmp_path / LOCK).exists()
    train_critic(tmp_path)


def test_a_killed_one_holds_nothing(tmp_path, accelerator):
    with another_process(tmp_path, accelerator) as child:
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert load_json(tmp_path / LOCK)["pid"] == child
        train_critic(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_another_hosts_word_is_believed(tmp_path):
    left = {"host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}
    save_json(tmp_path / LOCK, left)
    before = what_lies_in(tmp_path)
    with pytest.raises(RunError, match=rf"process 1 on elsewhere.*remove {tmp_path / LOCK}"):
        train_critic(tmp_path)
    assert what_lies_in(tmp_path) == before
    (tmp_path / LOCK).unlink()
    train_critic(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}', '{"host": 1, "pid": "x"}'])
def test_what_a_crash_has_cut_is_nobodys(tmp_path, accelerator, content):
    (tmp_path / LOCK).write_text(content)
    with holding(tmp_path, accelerator):
        assert load_json(tmp_path / LOCK)["pid"] == os.getpid()


def test_one_process_does_not_train_twice_in_a_directory(tmp_path, accelerator):
    def again(stage, step, steps, metrics):
        with pytest.raises(RunError, match="this very process"):
            train_critic(tmp_path / ".." / tmp_path.name)

    train_critic(tmp_path, progress=again)
    with holding(tmp_path / "one", accelerator), holding(tmp_path / "two", accelerator):
        pass


@pytest.mark.parametrize("how", ["no locks", "no module"])
def test_where_the_kernel_has_no_locks(tmp_path, accelerator, monkeypatch, how):
    if how == "no module":
        monkeypatch.setattr(lock, "fcntl", None)
    else:

        def refuse(*arguments):
            raise OSError(errno.ENOLCK, "no locks available")

        monkeypatch.setattr("fcntl.lockf", refuse)
    with another_process(tmp_path, accelerator) as child:
        with pytest.raises(RunError, match=f"process, {child} on"):
            train_critic(tmp_path)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with holding(tmp_path, accelerator):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_directory_that_comes_to_nothing_is_not_left(tmp_path, accelerator):
    with pytest.raises(RuntimeError, match="early"), holding(tmp_path / "new", accelerator):
        raise RuntimeError("early")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with holding(tmp_path / "old", accelerator):
        pass
    assert (tmp_path / "old").exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_directory_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, number):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(RunError, match=f"nothing can be written.*{os.strerror(number)}"):
        train_critic(tmp_path)


def test_a_sweeps_directory_is_no_runs(tmp_path):
    grid = {"seeds": [0], "betas": [0.1]}
    save_json(tmp_path / "sweep" / "grid.json", grid)
    with pytest.raises(RunError, match=r"holds a sweep.*sweep/members"):
        train_critic(tmp_path / "sweep")
    with pytest.raises(RunError, match=r"holds a sweep.*sweep/members"):
        rehearse(TrainConfig("made"), tmp_path / "sweep", data=make_transitions(100))
    (tmp_path / "sweep" / "members" / "seed-0_beta-0.1").mkdir(parents=True)
    with pytest.raises(RunError, match="a member of the sweep"):
        train_critic(tmp_path / "sweep" / "members" / "seed-0_beta-0.1")
    train_critic(tmp_path / "members" / "run")
