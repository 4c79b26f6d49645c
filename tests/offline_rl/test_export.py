"""ONNX: the file against NumPy and PyTorch, and everything that may go wrong."""

import hashlib
import json
import logging
import sys
import warnings
from typing import Any, cast

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.data.interface import MachineInterface, Signal
from scoreregs_offline_rl.deployment import export
from scoreregs_offline_rl.deployment.export import TOLERANCE, export_onnx
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from tests.offline_rl.rl_runs import make_policy

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "policies" / "policy.onnx"
    return export_onnx(make_policy(), path)


def by_hand(policy, observations):
    """The policy in NumPy, in float64."""
    weights = {name: t.double().numpy() for name, t in policy.state_dict().items()}
    hidden = (observations - weights["observation_mean"]) / weights["observation_std"]
    for layer in (0, 2, 4):
        hidden = hidden @ weights[f"policy.net.{layer}.weight"].T
        hidden = hidden + weights[f"policy.net.{layer}.bias"]
        hidden = np.tanh(hidden) if layer == 4 else np.maximum(hidden, 0)
    return 2 * hidden


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_any_batch_of_unscaled_observations(exported, rows):
    session = runtime.InferenceSession(exported.path)
    observations = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    (actions,) = session.run(["action"], {"observation": observations})
    assert actions.shape == (rows, 1)
    assert np.ptp(by_hand(make_policy(), np.eye(3))) > 0.1
    np.testing.assert_allclose(actions, by_hand(make_policy(), observations), atol=1e-5)


def test_actions_stay_within_the_bounds(exported):
    session = runtime.InferenceSession(exported.path)
    far = 1e6 * np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    (actions,) = session.run(["action"], {"observation": far})
    assert np.abs(actions).max() == 2.0


def test_what_is_told_of_the_file(exported):
    model = onnx.load(exported.path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "environment": "Pendulum-v1"
    }
    assert model.producer_name == "scoreregs"
    assert exported.opset == model.opset_import[0].version >= 18
    described = {value.name for value in model.graph.value_info}
    assert described.isdisjoint(weight.name for weight in model.graph.initializer)
    # What the exporter leaves where it is not asked to tidy up.
    assert {"Cast", "Constant"}.isdisjoint(node.op_type for node in model.graph.node)
    assert exported.checked == 256
    assert exported.error <= TOLERANCE
    names = sorted(path.name for path in exported.path.parent.iterdir())
    assert names == ["policy.onnx", "policy.onnx.json"]


def test_the_manifest(tmp_path):
    policy = make_policy()
    policy.interface = MachineInterface(
        observations=(Signal("cos"), Signal("sin"), Signal("speed", "rad/s")),
        actions=(Signal("torque", "N m"),),
        rate=20.0,
    )
    policy.record = TrainingRecord(
        "SRPO", "swing", 0, 0.1, None, None, -900.0, None, {"torch": "2.13"}
    )
    exported = export_onnx(policy, tmp_path / "policy.onnx", licence="cc-by-4.0")
    assert exported.manifest == tmp_path / "policy.onnx.json"
    content = exported.path.read_bytes()
    (inputs,) = runtime.InferenceSession(content).get_inputs()
    (outputs,) = runtime.InferenceSession(content).get_outputs()
    manifest = json.loads(exported.manifest.read_text())
    numbers = [column.pop(key) for column, key in columns_of(manifest)]
    np.testing.assert_allclose(numbers, [0.3, 0.5, -0.1, 0.8, 1.0, 3.0, -2.0, 2.0], rtol=1e-6)
    assert manifest == {
        "format": "scoreregs-policy/1",
        "model": {
            "file": "policy.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "opset": exported.opset,
        },
        "input": {"name": inputs.name, "dtype": "float32", "shape": inputs.shape},
        "output": {"name": outputs.name, "dtype": "float32", "shape": outputs.shape},
        "observations": [
            {"name": "cos", "unit": None},
            {"name": "sin", "unit": None},
            {"name": "speed", "unit": "rad/s"},
        ],
        "actions": [{"name": "torque", "unit": "N m"}],
        "rate_hz": 20.0,
        "environment": "Pendulum-v1",
        "data": "swing",
        "method": "SRPO",
        "versions": {"torch": "2.13"},
        "licence": "cc-by-4.0",
    }


def columns_of(manifest):
    return [(column, key) for column in manifest["observations"] for key in ("mean", "std")] + [
        (column, key) for column in manifest["actions"] for key in ("low", "high")
    ]


def test_the_manifest_of_a_policy_of_which_little_is_known(exported):
    manifest = json.loads(exported.manifest.read_text())
    assert [column["name"] for column in manifest["observations"]] == [
        "observation_0",
        "observation_1",
        "observation_2",
    ]
    assert [column["name"] for column in manifest["actions"]] == ["action_0"]
    assert (manifest["rate_hz"], manifest["licence"], manifest["data"]) == (None, None, None)


def test_an_interface_of_another_policy(tmp_path):
    policy = make_policy()
    policy.interface = MachineInterface.numbered(3, 2)
    with pytest.raises(ArgumentError, match="2 actions, expected 3 and 1"):
        export_onnx(policy, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())


SIGNAL, OTHER = (Signal("a"),), (Signal("b"),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Signal(""),
        lambda: Signal(" "),
        lambda: Signal(cast("Any", 3)),
        lambda: Signal("a", cast("Any", 3)),
        lambda: MachineInterface((), SIGNAL),
        lambda: MachineInterface(SIGNAL, ()),
        lambda: MachineInterface(SIGNAL * 2, OTHER),
        lambda: MachineInterface(SIGNAL, OTHER * 2),
        *(
            lambda rate=rate: MachineInterface(SIGNAL, OTHER, rate)
            for rate in (0.0, -1.0, np.nan, np.inf, True, cast("Any", "100"))
        ),
    ],
)
def test_an_interface_that_is_none(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()


def test_the_policy_is_left_as_it_is_and_nothing_warns(tmp_path, caplog):
    policy = make_policy().double()
    state = torch.get_rng_state()
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        exported = export_onnx(policy, tmp_path / "policy.onnx")
    assert runtime.InferenceSession(exported.path).get_inputs()[0].type == "tensor(float)"
    assert not [r for r in caplog.records if r.name.startswith("torch.onnx")]
    assert policy.observation_mean.dtype == torch.float64
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize(
    "broken", ["observation_mean", "observation_std", "action_low", "policy.net.2.weight"]
)
def test_a_mismatch_leaves_no_file(tmp_path, monkeypatch, exported, broken):
    """The file of one policy is compared with another, which differs in one tensor."""
    monkeypatch.setattr(
        export, "_write", lambda _, path: path.write_bytes(exported.path.read_bytes())
    )
    policy = make_policy()
    path = tmp_path / "policy.onnx"
    policy.state_dict()[broken].view(-1)[0] += 0.02
    with pytest.raises(RunError, match=r"differ from PyTorch's by .* expected at most 0\.0001"):
        export_onnx(policy, path)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite(tmp_path):
    policy = make_policy()
    policy.state_dict()["policy.net.2.weight"].fill_(torch.nan)
    with pytest.raises(RunError, match="differ from PyTorch's by nan"):
        export_onnx(policy, tmp_path / "policy.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*scoreregs\[onnx\]"):
        export_onnx(make_policy(), tmp_path / "policy.onnx")
