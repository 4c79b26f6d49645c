"""Parts of a divided sweep and processes of a run that end where others wait for them."""

import threading

import pytest

from scoreregs_offline_rl import RunError
from scoreregs_offline_rl.runs import presence
from scoreregs_offline_rl.runs.presence import await_parts, present
from scoreregs_offline_rl.training import agreement
from scoreregs_offline_rl.training.agreement import losing_others, together


class Launch:
    """What a process of two sees of the launch."""

    num_processes = 2


def test_a_part_whose_process_failed_ends_the_wait(tmp_path):
    with pytest.raises(OSError, match="full"), present(tmp_path / "2-of-2"):
        raise OSError("full")
    with pytest.raises(RunError, match=r"2-of-2 .* ended before it was finished: .* goes on"):
        await_parts([tmp_path / "2-of-2"], lambda folder: False)


def test_a_part_whose_process_was_killed_ends_the_wait(tmp_path, monkeypatch):
    (tmp_path / "alive").touch()
    monkeypatch.setattr(presence, "_POLL", 0.01)
    monkeypatch.setattr(presence, "_SILENCE", 0.1)
    with pytest.raises(RunError, match="ended before it was finished"):
        await_parts([tmp_path], lambda folder: False)


def test_a_part_that_takes_its_time_is_awaited(tmp_path, monkeypatch):
    for name, seconds in (("_BEAT", 0.02), ("_POLL", 0.01), ("_SILENCE", 0.3)):
        monkeypatch.setattr(presence, name, seconds)
    done = threading.Event()
    timer = threading.Timer(0.4, done.set)
    with present(tmp_path):
        timer.start()
        await_parts([tmp_path], lambda folder: done.is_set())
    assert not list(tmp_path.iterdir())


def test_a_failure_of_another_process_is_ones_own(monkeypatch):
    monkeypatch.setattr(agreement, "PartialState", Launch)
    monkeypatch.setattr(agreement, "gather_object", lambda told: [*told, RunError("no room")])
    with pytest.raises(RunError, match="no room"), together():
        pass
    with pytest.raises(KeyError, match="own"), together():
        raise KeyError("own")


def test_a_process_that_is_gone_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(agreement, "PartialState", Launch)
    gone = "[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:31"
    with pytest.raises(RunError, match=r"no answer from .* goes on"), losing_others():
        raise RuntimeError(gone)
    with pytest.raises(RuntimeError, match="another"), losing_others():
        raise RuntimeError("another")
