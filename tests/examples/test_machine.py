"""The example of a machine: the policy by names, its guard, and a clock that stands still."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from examples import machine
from scoreregs_offline_rl.data.interface import MachineInterface, Signal
from scoreregs_offline_rl.deployment.export import export_onnx
from tests.offline_rl.rl_runs import make_policy
from tests.pages import REPOSITORY

INTERFACE = MachineInterface(
    observations=(Signal("cos"), Signal("sin"), Signal("speed", "rad/s")),
    actions=(Signal("torque", "N m"),),
    rate=20.0,
)
SENSORS = {"speed": 2.0, "unused": float("nan"), "sin": -0.1, "cos": 0.9}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    policy = make_policy()
    policy.interface = INTERFACE
    return export_onnx(policy, tmp_path_factory.mktemp("machine") / "policy.onnx").path


@pytest.fixture
def policy(path):
    return machine.Policy(path)


class Clock:
    """Time that passes when somebody sleeps, or is told to."""

    def __init__(self):
        self.now = 5.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    return clock


def test_sensors_and_commands_go_by_their_names(policy):
    expected = make_policy()(np.array([0.9, -0.1, 2.0]))
    assert policy(SENSORS) == {"torque": pytest.approx(float(expected[0]), abs=1e-5)}
    assert policy(dict(reversed(SENSORS.items()))) == policy(SENSORS)


@pytest.mark.parametrize(
    "change",
    [{"sin": np.nan}, {"sin": np.inf}, {"sin": -np.inf}, {"sin": None}, {"sin": 1e300}],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_the_guard_refuses_a_number_that_is_none(policy, change):
    with pytest.raises(ValueError, match="no finite number from sin: nothing is commanded"):
        policy(SENSORS | change)


def test_the_guard_refuses_missing_sensors(policy):
    with pytest.raises(ValueError, match="from cos, speed:"):
        policy({"sin": 0.0})


@pytest.mark.parametrize("value", ["on", [1.0, 2.0]])
def test_the_guard_refuses_what_is_no_number(policy, value):
    with pytest.raises(ValueError):
        policy(SENSORS | {"sin": value})


def test_the_guard_refuses_commands_that_are_not_finite(policy, monkeypatch):
    session = type("Session", (), {"run": lambda *_: [np.array([[np.nan]], np.float32)]})
    monkeypatch.setattr(policy, "session", session())
    with pytest.raises(ValueError, match="no finite commands"):
        policy(SENSORS)


def test_nothing_is_sent_for_what_was_refused(policy, clock):
    sent, readings = [], iter([SENSORS, SENSORS, {"sin": 1.0}, SENSORS])
    with pytest.raises(ValueError, match="nothing is commanded"):
        machine.loop(policy, lambda: next(readings), sent.append, rate=100, seconds=1)
    assert len(sent) == 2


def test_a_file_that_is_not_the_manifest_s(path, tmp_path):
    (tmp_path / "policy.onnx").write_bytes(path.read_bytes() + b" ")
    (tmp_path / "policy.onnx.json").write_text(path.with_name("policy.onnx.json").read_text())
    with pytest.raises(ValueError, match="export it again"):
        machine.Policy(tmp_path / "policy.onnx")


def test_the_loop_keeps_its_rate(clock):
    times = []
    late = machine.loop(
        lambda sensors: sensors, dict, lambda _: times.append(clock.now), rate=100, seconds=0.1
    )
    assert late == 0
    np.testing.assert_allclose(np.array(times) - 5.0, np.arange(10) / 100, atol=1e-9)


def test_late_ticks_are_counted_and_left_out(clock):
    """The third tick takes 25 ms of its 10: it is late, the next has gone by, the fifth is not."""
    times = []

    def policy(sensors):
        if len(times) == 2:
            clock.now += 0.025
        return sensors

    late = machine.loop(policy, dict, lambda _: times.append(clock.now), rate=100, seconds=0.08)
    np.testing.assert_allclose(np.array(times) - 5.0, [0, 0.01, 0.045, 0.05, 0.06, 0.07], atol=1e-9)
    assert late == 2


def test_it_runs_without_torch_and_without_this_package(path):
    """As on the machine, where neither is installed."""
    blocked = "torch", "scoreregs", "scoreregs_offline_rl"
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({blocked!r})); "
        f"sys.argv = ['machine.py', {str(path)!r}]; "
        "runpy.run_path('examples/machine.py', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    *commands, last = ended.stdout.splitlines()
    assert last.endswith("late ticks")
    # Two seconds at the 20 Hz of the manifest, less what a busy machine missed.
    assert len(commands) + int(last.split()[0]) == pytest.approx(40, abs=1)
    assert all("torque" in command for command in commands)


def test_the_manifest_says_what_the_file_is(path):
    manifest = json.loads(path.with_name("policy.onnx.json").read_text())
    assert manifest["model"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
