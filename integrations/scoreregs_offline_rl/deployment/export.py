"""Export of a policy to ONNX, compared with PyTorch before the file gets its name."""

from __future__ import annotations

import copy
import importlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.columns import ROUNDING
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.deployment.manifest import compose_manifest, manifest_of
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import replacing, save_json

if TYPE_CHECKING:
    import onnx

__all__ = ["TOLERANCE", "OnnxExport", "export_onnx"]

TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and PyTorch, as a part of each action's range: a hundred
times what float32 sums in another order make of it, a thousandth of what a mistake does."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@named_calls
@dataclass(frozen=True)
class OnnxExport:
    """An exported policy.

    Attributes:
        path: the file: input `observation` (batch, o) float32, output `action` (batch, a) float32.
        manifest: what lies beside it, `<file>.json`: names, units, order, shapes, means, bounds,
            rate, data set, licence and the file's digest.
        opset: the version of ONNX's operators.
        checked: the number of observations that were compared.
        error: the largest difference found, as a part of each action's range.
    """

    path: Path
    manifest: Path
    opset: int
    checked: int
    error: float


@named_calls
def export_onnx(policy: TrainedPolicy, path: Path, *, licence: str | None = None) -> OnnxExport:
    """Returns how a policy was written as ONNX, with its statistics and bounds inside.

    The file maps unscaled observations (batch, o), for any batch, to actions in the environment's
    units. ONNX Runtime is run on observations around the data's mean, up to tens of standard
    deviations away, one by one and together, and has to agree with PyTorch within `TOLERANCE` of
    each action's range. The names, units and rate in the JSON beside it are those of the policy's
    `interface`.

    Args:
        policy: left as it is, on whatever device.
        path: the file, written beside its place and renamed once it has been checked.
        licence: the licence of the weights, as the Hub names it, if chosen.

    Raises:
        ArgumentError: where the policy's interface is of other sizes than the policy.
        MissingDependencyError: where a package of the extra `onnx` is not installed.
        RunError: where ONNX Runtime and PyTorch disagree, or float32 cannot hold an observation; no
            file is written.

    Example:
        >>> import tempfile
        >>> from scoreregs_offline_rl.stages.networks import DiracPolicy
        >>> from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
        >>> bounds = ActionScaling(torch.tensor([-2.0]), torch.tensor([2.0]))
        >>> policy = TrainedPolicy(DiracPolicy(3, 1), ObservationScaling.identity(3), bounds)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = export_onnx(policy, Path(folder) / "policy.onnx", licence="mit")
        >>> exported.manifest.name, exported.checked, exported.error <= TOLERANCE
        ('policy.onnx.json', 256, True)
    """
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingDependencyError(package, "onnx") from error
    _check_mean(policy)
    policy = copy.deepcopy(policy).to("cpu", torch.float32)
    manifest = manifest_of(path)
    with replacing(path) as partial:
        opset = _write(policy, partial)
        observations = _observations(policy)
        error = _largest_error(policy, partial, observations)
        # A NaN fails this comparison, too.
        if not error <= TOLERANCE:
            raise RunError(
                f"got ONNX actions that differ from PyTorch's by {error:.2g} of their range, "
                f"expected at most {TOLERANCE:g}: report it with the versions of torch, onnxscript "
                "and onnxruntime"
            )
        description = compose_manifest(policy, path, partial, opset=opset, licence=licence)
    # In this order a kill in between leaves a digest that is not the file's, and no wrong name.
    save_json(manifest, description)
    return OnnxExport(path, manifest, opset, len(observations), error)


def _check_mean(policy: TrainedPolicy) -> None:
    """Refuses observations that the exported policy could not tell apart: it is given float32."""
    mean, std = policy.observation_mean, policy.observation_std
    lost = ((mean - mean.float()).abs() > ROUNDING * std).nonzero().flatten().tolist()
    if lost:
        raise RunError(
            f"got observations {lost} that vary by so little beside their size that float32, which "
            "the exported policy is given, cannot hold them, expected others: take a constant off "
            "them, when they are recorded and when they are used, and train again"
        )


def _write(policy: TrainedPolicy, path: Path) -> int:
    """Writes the file and returns its opset."""
    import onnx

    example = policy.observation_mean.expand(2, -1)
    with _quiet(), _Unfused():
        program = torch.onnx.export(
            policy,
            (example,),
            dynamo=True,
            verbose=False,
            # As later versions of PyTorch do unasked.
            optimize=True,
            input_names=["observation"],
            output_names=["action"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    if program is None:
        raise RunError("got nothing from torch.onnx.export, expected a program: update torch")
    program.save(str(path))
    model = onnx.load(str(path))
    model.producer_name = "scoreregs"
    _name_batch(model.graph)
    _describe_once(model.graph)
    known = {"environment": policy.environment}
    if policy.record:
        known |= {"method": policy.record.method, "data": policy.record.data}
    onnx.helper.set_model_props(model, {name: text for name, text in known.items() if text})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return next(entry.version for entry in model.opset_import if not entry.domain)


class _Unfused(TorchFunctionMode):
    """Spells what stacked policies are made of as PyTorch 2.6 exports it for any batch."""

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.baddbmm:
            bias, rows, weight = args
            return bias + torch.bmm(rows, weight)
        return func(*args, **(kwargs or {}))


def _name_batch(graph: onnx.GraphProto) -> None:
    """Calls the axis of observations what the manifest calls it; PyTorch 2.6 numbers its axes."""
    given = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.value_info, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == given:
                axis.dim_param = "batch"


def _describe_once(graph: onnx.GraphProto) -> None:
    """Leaves shapes of weights to the weights: ONNX Runtime 1.23 quantises no others."""
    weights = {weight.name for weight in graph.initializer}
    kept = [value for value in graph.value_info if value.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _observations(policy: TrainedPolicy) -> Tensor:
    """Returns observations (256, o) at growing distances from the data's mean."""
    generator = torch.Generator().manual_seed(0)
    distances = torch.tensor([0.3, 1.0, 3.0, 10.0]).repeat(64)[:, None]
    noise = torch.randn(256, len(policy.observation_mean), generator=generator)
    return policy.observation_mean + distances * policy.observation_std * noise


def _largest_error(policy: TrainedPolicy, path: Path, observations: Tensor) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(rows: Tensor) -> np.ndarray:
        return np.asarray(session.run(["action"], {"observation": rows.numpy()})[0])

    expected = policy(observations).numpy()
    span = (policy.action_high - policy.action_low).numpy()
    together = run(observations)
    singly = np.concatenate([run(row[None]) for row in observations[:8]])
    errors = np.abs(together - expected), np.abs(singly - expected[:8])
    return float(max((error / span).max() for error in errors))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps quiet what the exporter says about packages and types that no policy touches."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        exporter.setLevel(level)
