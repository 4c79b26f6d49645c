"""The finished policy by itself."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.interface import MachineInterface
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.networks import DiracPolicy


@pytest.fixture
def agent():
    torch.manual_seed(0)
    observations = ObservationScaling(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 1.0, 4.0]))
    actions = ActionScaling(torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0]))
    return TrainedPolicy(DiracPolicy(3, 2, layers=3, width=8), observations, actions, "Hopper-v5")


def test_actions_by_hand(agent):
    observations = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, 8.5]])
    inputs = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]])
    inner = agent.policy(inputs).detach().numpy()
    expected = np.stack([2 * inner[:, 0], (inner[:, 1] + 1) / 2], axis=1)
    np.testing.assert_allclose(agent(observations), expected, rtol=1e-6)


def test_kinds_of_observations(agent):
    batch = np.random.default_rng(0).normal(size=(5, 3))
    actions = agent(batch)
    assert isinstance(actions, np.ndarray)
    assert actions.dtype == np.float32
    assert isinstance(agent(torch.from_numpy(batch)), torch.Tensor)
    np.testing.assert_array_equal(agent(torch.from_numpy(batch)).numpy(), actions)
    np.testing.assert_allclose(agent(batch[2]), actions[2], rtol=1e-6)
    assert not agent(torch.from_numpy(batch)).requires_grad


def test_actions_stay_within_the_bounds():
    """Rounding of low + (high - low) alone would leave some of these."""
    torch.manual_seed(0)
    bounds = ActionScaling(-torch.rand(300), torch.rand(300))
    policy = DiracPolicy(3, 300, width=8)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1000)
    agent = TrainedPolicy(policy, ObservationScaling.identity(3), bounds)
    actions = agent(torch.randn(50, 3))
    assert (bounds.denormalize(torch.ones(300)) > bounds.high).any()
    assert (actions >= bounds.low).all()
    assert (actions <= bounds.high).all()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (1, 2, 3), ()])
def test_wrong_observations(agent, shape):
    with pytest.raises(ArgumentError, match=r"expected \(3,\) or \(batch, 3\)"):
        agent(np.zeros(shape))


def test_it_is_a_module_with_frozen_weights_and_its_statistics_in_the_state(agent):
    assert not any(parameter.requires_grad for parameter in agent.parameters())
    assert not agent.training
    buffers = dict(agent.named_buffers())
    assert buffers["observation_std"].tolist() == [2.0, 1.0, 4.0]
    assert buffers["action_high"].tolist() == [2.0, 1.0]
    assert set(buffers) < set(agent.state_dict())
    observations = torch.randn(5, 3, dtype=torch.float64)
    expected = agent(observations)
    doubled = agent.double()(observations)
    assert doubled.dtype == torch.float64
    torch.testing.assert_close(doubled.float(), expected)


def test_the_policy_that_was_given_stays_trainable_and_apart():
    network = DiracPolicy(3, 2, width=8)
    bounds = ActionScaling(-torch.ones(2), torch.ones(2))
    agent = TrainedPolicy(network, ObservationScaling.identity(3), bounds)
    before = agent(np.ones(3))
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.requires_grad
            parameter.zero_()
    bounds.high.zero_()
    np.testing.assert_array_equal(agent(np.ones(3)), before)


def test_observations_get_a_gradient(agent):
    observation = torch.zeros(3, requires_grad=True)
    agent(observation).sum().backward()
    assert observation.grad is not None
    assert observation.grad.abs().sum() > 0


def test_compiled_and_traced(agent):
    observations = torch.randn(5, 3)
    compiled = torch.compile(agent, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(observations), agent(observations))
    program = torch.export.export(agent, (observations,)).module()
    torch.testing.assert_close(program(observations), agent(observations))


def test_save_and_load(agent, tmp_path):
    agent.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = TrainedPolicy.load(tmp_path)
    observations = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(loaded(observations), agent(observations))
    assert loaded.environment == "Hopper-v5"


def test_a_folder_without_a_policy(agent, tmp_path):
    with pytest.raises(RunError, match="cannot read"):
        TrainedPolicy.load(tmp_path)
    agent.save(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(description | {"width": 9}))
    with pytest.raises(RunError, match="without a whole policy"):
        TrainedPolicy.load(tmp_path)
    agent.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match="cannot read"):
        TrainedPolicy.load(tmp_path)


def test_only_float32_is_saved(agent, tmp_path):
    for policy in (copy.deepcopy(agent).double(), copy.deepcopy(agent).half()):
        with pytest.raises(ArgumentError, match=r"expected torch\.float32: call \.float\(\) first"):
            policy.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_loading_leaves_the_global_generator_alone(agent, tmp_path):
    agent.save(tmp_path)
    before = torch.get_rng_state()
    TrainedPolicy.load(tmp_path)
    assert torch.get_rng_state().equal(before)


def test_the_interface_goes_with_the_policy(agent, tmp_path):
    agent.interface = MachineInterface.numbered(3, 2)
    agent.save(tmp_path)
    assert TrainedPolicy.load(tmp_path).interface == agent.interface
    # A folder of an earlier version says nothing of it.
    description = json.loads((tmp_path / "config.json").read_text())
    del description["interface"]
    (tmp_path / "config.json").write_text(json.dumps(description))
    assert TrainedPolicy.load(tmp_path).interface is None


def changed(name, change):
    def damage(tensors):
        tensors[name] = change(tensors[name])

    return damage


WEIGHTS = {
    "NaN weights": (changed("policy.net.2.weight", lambda w: w * torch.nan), "not finite"),
    "an infinite bias": (changed("policy.net.0.bias", lambda b: b + torch.inf), "not finite"),
    "a NaN mean": (changed("observation_mean", lambda m: m * torch.nan), "observation_mean"),
    "a std of zero": (changed("observation_std", lambda s: 0 * s), "deviation of 0 in"),
    "a negative std": (changed("observation_std", lambda s: -s), "deviation of -4 in"),
    "a std that vanishes": (changed("observation_std", lambda s: 1e-42 * s), "deviation of .*e-42"),
    "a longer mean": (changed("observation_mean", lambda m: m.repeat(2)), r"observation_mean: F32"),
    "a mean without axes": (changed("observation_mean", lambda m: m[0]), r"F32 \[\]"),
    "a shorter std": (changed("observation_std", lambda s: s[:1]), "observation_std: F32"),
    "low above high": (changed("action_low", lambda low: low + 9), "action bounds"),
    "no room for actions": (changed("action_high", lambda high: high * 0), "action bounds"),
    "infinite bounds": (changed("action_high", lambda high: high + torch.inf), "action_high"),
    "other bounds": (changed("action_low", lambda low: low[:1]), "action_low: F32"),
    "half weights": (changed("policy.net.0.weight", lambda w: w.half()), "net.0.weight: F16"),
    "bfloat16 weights": (changed("policy.net.0.bias", lambda w: w.bfloat16()), "net.0.bias: BF16"),
    "double weights": (changed("policy.net.0.weight", lambda w: w.double()), "net.0.weight: F64"),
    "whole numbers": (changed("policy.net.0.weight", lambda w: w.long()), "net.0.weight: I64"),
    "a half std": (changed("observation_std", lambda s: s.half()), "observation_std: F16"),
    "a wider layer": (changed("policy.net.2.weight", lambda w: w.repeat(2, 1)), "net.2.weight"),
    "a flat layer": (changed("policy.net.2.weight", lambda w: w.flatten()), "no layers"),
    "one tensor too many": (lambda t: t.update(more=torch.ones(2)), "more: F32"),
    "one layer less": (lambda t: t.pop("policy.net.4.weight"), "sizes"),
    "no bias": (lambda t: t.pop("policy.net.4.bias"), "net.4.bias: nothing"),
    "no mean": (lambda t: t.pop("observation_mean"), "observation_mean: nothing"),
    "no layers": (lambda t: [t.pop(name) for name in list(t) if "net" in name], "no layers"),
    "weights that overflow": (
        lambda t: t.update({n: w.sign() * 3e38 for n, w in t.items() if ".weight" in n}),
        "actions are not finite",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_lie(agent, tmp_path, name):
    """None of these acts: each folder is refused, in one line that names what is wrong."""
    damage, message = WEIGHTS[name]
    agent.save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    damage(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=message) as caught:
        TrainedPolicy.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def sized(inputs, outputs, width, layers=1):
    """The header of a policy of these sizes."""
    sides = [inputs, *[width] * layers, outputs]
    shapes: dict[str, Any] = {"observation_mean": [inputs], "observation_std": [inputs]}
    shapes |= {"action_low": [outputs], "action_high": [outputs]}
    for index in range(layers + 1):
        shapes[f"policy.net.{2 * index}.weight"] = [sides[index + 1], sides[index]]
        shapes[f"policy.net.{2 * index}.bias"] = [sides[index + 1]]
    return shapes


HEADERS = {
    "wider than memory": sized(3, 2, 2**40),
    "wider than 64 bits": sized(3, 2, 2**70),
    "wider than 64 bits of bytes": sized(3, 2, 2**61),
    "more sensors than memory": sized(2**50, 2, 8),
    "more sensors than 64 bits, of no width": sized(2**62, 2, 0),
    "more commands than memory": sized(3, 2**50, 8),
    "of no width": sized(3, 2, 0),
    "of no command": sized(3, 0, 8),
    "of negative width": sized(3, 2, -8),
    "of true width": sized(3, 2, True),
    "of half a width": sized(3, 2, 8.5),
    "of a width in words": sized(3, 2, "8"),
    "of a width that is a list": sized(3, 2, [8]),
    "of a shape that is none": sized(3, 2, 8) | {"observation_mean": 3},
    "of a shape that is null": sized(3, 2, 8) | {"policy.net.0.weight": None},
    "of sides without end": sized(3, 2, 8) | {"observation_mean": [2**40] * 100_000},
    "of more policies than memory": sized(3, 2, 8) | {"policy.net.0.weight": [2**40, 8, 3]},
    "of layers without end": sized(1, 1, 1, layers=3000),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies(tmp_path, name):
    """The description agrees with it."""
    shapes = HEADERS[name]
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}
        for name, shape in shapes.items()
    }
    content = json.dumps(header).encode()
    file = len(content).to_bytes(8, "little") + content + 40_000 * b"\0"
    (tmp_path / "model.safetensors").write_bytes(file)
    layers = sum(".weight" in name for name in shapes) - 1
    told = {"layers": layers, "policies": 1, "width": shapes["policy.net.0.bias"][0]}
    told |= {"observation_size": 3, "action_size": shapes["action_low"][0]}
    if isinstance(shapes["observation_mean"], list):
        told["observation_size"] = shapes["observation_mean"][0]
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"header|layers|weights of another size") as caught:
        TrainedPolicy.load(tmp_path)
    assert "\n" not in str(caught.value)


EVALUATION = {"environment": "Hopper-v5", "returns": [1.0, 2.0], "lengths": [10, 20]}
RECORD = {
    "method": "SRPO",
    "data": "hopper",
    "seed": 0,
    "beta": 0.1,
    "command": None,
    "evaluation": EVALUATION,
    "data_return": 1.0,
    "data_score": None,
    "versions": {},
}
CONFIGS = {
    "a list": [1, 2],
    "null": None,
    "a number": 3,
    "nothing": {},
    "a width of a text": {"width": "8"},
    "a width of a list": {"width": [8]},
    "a width of a half": {"width": 8.5},
    "a width as a real number": {"width": 8.0},
    "another width": {"width": 9},
    "a width of a terabyte": {"width": 2**40},
    "a width beyond 64 bits": {"width": 2**70},
    "a negative width": {"width": -8},
    "layers without end": {"layers": 10**12},
    "no layers": {"layers": 0},
    "true layers": {"layers": True},
    "an observation of nothing": {"observation_size": 0},
    "another observation": {"observation_size": 4},
    "another action": {"action_size": 3},
    "an environment of a number": {"environment": 3},
    "an environment of a list": {"environment": ["Hopper-v5"]},
    "an environment of two lines": {"environment": "Hopper-v5\n"},
    "an environment of no JSON": {"environment": "Hopper-v5 {"},
    "an environment without a name": {"environment": ' {"kwargs": {"a": 1}}'},
    "an environment without end": {"environment": "Hopper-v5 " + 5000 * '{"kwargs":'},
    "a record of a list": {"record": []},
    "a record of a text": {"record": "SRPO"},
    "an empty record": {"record": {}},
    "a record of more": {"record": RECORD | {"more": 1}},
    "an interface of a list": {"interface": []},
    "an interface of nothing": {"interface": {}},
    "an interface of numbers": {"interface": {"observations": [1], "actions": [2], "rate": 1.0}},
    "an interface of other sizes": {"interface": MachineInterface.numbered(2, 2).to_dict()},
}
WRONG = {
    "method": (None, 3, [1]),
    "data": (None, 3, [1]),
    "seed": (None, 1.5, "text", True, 10**30),
    "beta": ("text", [1], True, 10**310),
    "command": (3, [1]),
    "evaluation": (3, "text", [1], True, {}),
    "data_return": (None, "text", [1], True),
    "data_score": ("text", [1], True),
    "versions": (None, 3, "text", [1]),
}
CONFIGS |= {
    f"a record whose {name} is {value!r}": {"record": RECORD | {name: value}}
    for name, values in WRONG.items()
    for value in values
}
CONFIGS |= {
    f"an evaluation whose {name} is {value!r}": {
        "record": RECORD | {"evaluation": EVALUATION | {name: value}}
    }
    for name in EVALUATION
    for value in (None, 3, [], ["a"], [True, 1], [1.0], [10**310, 1])
}
CONFIGS |= {
    f"successes that are {value!r}": {
        "record": RECORD | {"evaluation": EVALUATION | {"successes": value}}
    }
    for value in (3, "ab", [], [True], [1, 0], [True, None])
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_description_that_lies(agent, tmp_path, name):
    agent.save(tmp_path)
    path = tmp_path / "config.json"
    change = CONFIGS[name]
    whole = json.loads(path.read_text()) if isinstance(change, dict) and change else {}
    path.write_text(json.dumps(whole | change if isinstance(change, dict) else change))
    for load in (TrainedPolicy.load, TrainedPolicy.from_pretrained):
        with pytest.raises(RunError) as caught:
            load(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_description_that_does_not(agent, tmp_path):
    """The pieces of the lies above are true ones."""
    agent.save(tmp_path)
    path = tmp_path / "config.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"record": RECORD, "environment": None}))
    record = TrainedPolicy.load(tmp_path).record
    assert record is not None
    assert record.to_dict()["evaluation"]["returns"] == (1.0, 2.0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_cut(agent, tmp_path, name, share):
    agent.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match="cannot read") as caught:
        TrainedPolicy.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
