"""A policy's folder, of which nothing is believed before it has been checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.interface import MachineInterface
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import (
    load_json,
    load_tensors_like,
    save_json,
    save_tensors,
    tensor_shapes,
)
from scoreregs_offline_rl.stages.mean_policy import MeanPolicy
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment

__all__ = ["FILES", "PolicyParts", "read_folder", "write_folder"]

_CONFIG, _WEIGHTS = FILES = "config.json", "model.safetensors"
_MEAN = "observation_mean"
_REMEDY = "save the policy again, or download its folder again"
_STATISTICS = {
    _MEAN: "observation_size",
    "observation_std": "observation_size",
    "action_low": "action_size",
    "action_high": "action_size",
}
_SIZES = ("observation_size", "action_size", "layers", "width")
_POLICIES = "policies"
# A header that tells of more is built no network for.
_MOST = 1024


@dataclass(frozen=True, eq=False)
class PolicyParts:
    """What a policy is made of.

    Attributes:
        policy: its network.
        observation_scaling: the statistics of its observations.
        action_scaling: the bounds of its actions.
        environment: the Gymnasium id that it acts in, if known.
        record: where it comes from, if known.
        interface: what its numbers are on its machine, if known.
    """

    policy: DiracPolicy | MeanPolicy
    observation_scaling: ObservationScaling
    action_scaling: ActionScaling
    environment: str | None
    record: TrainingRecord | None
    interface: MachineInterface | None


def write_folder(parts: PolicyParts, tensors: dict[str, Tensor], folder: Path) -> None:
    """Writes `model.safetensors`, and `config.json` with the sizes; nothing else is needed.

    Args:
        parts: of the policy.
        tensors: its weights and statistics.
        folder: where to write, made if need be.

    Raises:
        ArgumentError: where a tensor is not of float32.
        RunError: where a tensor holds NaN or infinity.
    """
    others = {
        name: t.dtype
        for name, t in tensors.items()
        if t.dtype != torch.float32 and (name, t.dtype) != (_MEAN, torch.float64)
    }
    if others:
        name, dtype = next(iter(others.items()))
        raise ArgumentError(f"got {name} in {dtype}, expected torch.float32: call .float() first")
    save_tensors(folder / _WEIGHTS, tensors)
    description = _sizes_in({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    save_json(
        folder / _CONFIG,
        {
            **description,
            "environment": parts.environment,
            "record": parts.record and parts.record.to_dict(),
            "interface": parts.interface and parts.interface.to_dict(),
        },
    )


def read_folder(folder: Path) -> PolicyParts:
    """Returns the parts of the policy in a folder, on the CPU.

    The sizes in `config.json` are compared with the header of `model.safetensors` before anything
    is allocated.

    Raises:
        RunError: where a file is missing or damaged, the two do not belong together, a number is
            not finite or no float32, a standard deviation is not positive or bounds are none.
    """
    try:
        config = load_json(folder / _CONFIG)
        network, tensors = _read_weights(config, folder / _WEIGHTS)
        std = tensors["observation_std"]
        # One over a smaller one is infinite.
        if not bool((std >= torch.finfo(std.dtype).tiny).all()):
            raise ArgumentError(
                f"got a standard deviation of {float(std.min()):g} in observation_std, expected "
                f"positive ones: {_REMEDY}"
            )
        sizes = config["observation_size"], config["action_size"]
        return PolicyParts(
            policy=network,
            observation_scaling=ObservationScaling(tensors["observation_mean"], std),
            action_scaling=ActionScaling(tensors["action_low"], tensors["action_high"]),
            environment=_environment(config),
            record=_record(config),
            interface=_interface(config, *sizes),
        )
    except ArgumentError as error:
        raise RunError(f"got a folder without a whole policy, {folder}: {error}") from error


def _read_weights(
    config: dict[str, Any], path: Path
) -> tuple[DiracPolicy | MeanPolicy, dict[str, Tensor]]:
    found = _sizes_in({name: shape for name, (_, shape) in tensor_shapes(path).items()})
    # Folders of earlier versions have one policy.
    told = {name: config.get(name) for name in _SIZES} | {_POLICIES: config.get(_POLICIES, 1)}
    # True equals 1, and 256.0 equals 256.
    if found != told or any(type(size) is not int for size in told.values()):
        raise ArgumentError(
            f"got the sizes {told} in {_CONFIG}, expected those of {_WEIGHTS}, {found}: {_REMEDY}"
        )
    # Built without memory and without drawing weights, which would move the global generator.
    with torch.device("meta"):
        sizes = {name: found[name] for name in _SIZES}
        policies = [DiracPolicy(**sizes) for _ in range(found[_POLICIES])]
        network = policies[0] if len(policies) == 1 else MeanPolicy(policies)
        like = {f"policy.{name}": tensor for name, tensor in network.state_dict().items()}
        like |= {name: torch.empty(found[size]) for name, size in _STATISTICS.items()}
        if tensor_shapes(path).get(_MEAN, ("", ()))[0] == "F64":
            like[_MEAN] = like[_MEAN].double()
    tensors = load_tensors_like(path, like, remedy=_REMEDY)
    weights = {name.removeprefix("policy."): tensors[name] for name in like.keys() - _STATISTICS}
    network.load_state_dict(weights, assign=True)
    return network, tensors


def _sizes_in(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of a policy out of the shapes of its tensors."""
    layers = [f"policy.net.{2 * index}.weight" for index in range(len(shapes))]
    layers = [shapes[name] for name in layers if name in shapes]
    policies = min(layers[0][0], _MOST) if layers and len(layers[0]) == 3 else 1
    layers = [shape[-2:] if policies > 1 else shape for shape in layers]
    if len(layers) < 2 or any(len(shape) != 2 for shape in layers):
        raise ArgumentError(
            f"got no layers policy.net.0.weight, ... in {_WEIGHTS}, expected those of a policy: "
            f"{_REMEDY}"
        )
    (width, inputs), (outputs, _) = layers[0], layers[-1]
    sizes = (inputs, outputs, len(layers) - 1, width)
    if min(sizes) < 1 or len(layers) > _MOST:
        raise ArgumentError(
            f"got {len(layers)} layers of {inputs} to {width} to {outputs} numbers in {_WEIGHTS}, "
            f"expected at least one number of each and at most {_MOST} layers: {_REMEDY}"
        )
    return dict(zip(_SIZES, sizes, strict=True)) | {_POLICIES: policies}


def _environment(config: dict[str, Any]) -> str | None:
    environment = config.get("environment")
    if environment is None:
        return None
    if not isinstance(environment, str) or not environment.isprintable():
        raise ArgumentError(f"got {environment!r} as its environment, expected a name: {_REMEDY}")
    return str(RecordedEnvironment.parse(environment))


def _record(config: dict[str, Any]) -> TrainingRecord | None:
    record = config.get("record")
    return None if record is None else TrainingRecord.from_dict(record)


def _interface(
    config: dict[str, Any], observation_size: int, action_size: int
) -> MachineInterface | None:
    # Folders of earlier versions have none.
    if config.get("interface") is None:
        return None
    interface = MachineInterface.from_dict(config["interface"])
    interface.check_sizes(observation_size, action_size)
    return interface
