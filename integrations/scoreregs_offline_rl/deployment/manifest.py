"""What lies beside an exported policy: all that its machine has to know, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scoreregs_offline_rl.data.interface import MachineInterface, Signal
from scoreregs_offline_rl.files import sha256_of

if TYPE_CHECKING:
    from scoreregs_offline_rl.deployment.agent import TrainedPolicy

__all__ = ["FORMAT", "compose_manifest", "manifest_of"]

FORMAT = "scoreregs-policy/1"
"""Name and version of the layout; a field that is added leaves it as it is."""


def manifest_of(path: Path) -> Path:
    """Returns the path of the manifest of an exported file.

    Example:
        >>> manifest_of(Path("policy.onnx")).name
        'policy.onnx.json'
    """
    return path.with_name(path.name + ".json")


def compose_manifest(
    policy: TrainedPolicy, path: Path, content: Path, *, opset: int, licence: str | None
) -> dict[str, Any]:
    """Returns the manifest of an exported file.

    Names, units and rate are those of the policy's interface; without one, the numbers are
    `observation_0`, ..., `action_0`, ..., and units and rate are null.

    Args:
        policy: what was exported.
        path: the file, as it will be called.
        content: where it lies until then.
        opset: the version of ONNX's operators in it.
        licence: of the weights, as the Hub names it, if chosen.

    Raises:
        ArgumentError: where the policy's interface is of other sizes.
    """
    sizes = len(policy.observation_mean), len(policy.action_low)
    interface = policy.interface or MachineInterface.numbered(*sizes)
    interface.check_sizes(*sizes)
    record = policy.record
    mean, std = policy.observation_mean.tolist(), policy.observation_std.tolist()
    low, high = policy.action_low.tolist(), policy.action_high.tolist()
    return {
        "format": FORMAT,
        "model": {"file": path.name, "sha256": sha256_of(content), "opset": opset},
        "input": {"name": "observation", "dtype": "float32", "shape": ["batch", sizes[0]]},
        "output": {"name": "action", "dtype": "float32", "shape": ["batch", sizes[1]]},
        "observations": _columns(interface.observations, mean=mean, std=std),
        "actions": _columns(interface.actions, low=low, high=high),
        "rate_hz": interface.rate,
        "environment": policy.environment,
        "data": record and record.data,
        "method": record and record.method,
        "versions": record.versions if record else {},
        "licence": licence,
    }


def _columns(signals: tuple[Signal, ...], **numbers: list[float]) -> list[dict[str, Any]]:
    return [
        {"name": signal.name, "unit": signal.unit}
        | {name: values[index] for name, values in numbers.items()}
        for index, signal in enumerate(signals)
    ]
