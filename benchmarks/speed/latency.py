"""The latency of one action, its tail too: from an array of sensors to an array of commands.

python -m benchmarks.speed.latency --output latency.json

Peers are timed that are there: d3rlpy where it is installed, CORL and the paper's code where
SCOREREGS_CORL and SCOREREGS_SRPO name checkouts. Untrained networks of one size take as long as
trained ones. The rows take turns of a thousand calls, so that what else the machine does falls on
all of them.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import tyro
from onnxruntime.quantization import quantize_dynamic

from benchmarks.diffusion_policy import DiffusionPolicy
from benchmarks.machine import machine, public_command
from benchmarks.paper_code import PaperCode
from benchmarks.peers import act_of_corl, act_of_d3rlpy
from benchmarks.speed.workload import ACTION, OBSERVATION
from examples.machine import Policy
from scoreregs_offline_rl import BehaviorConfig, CriticConfig, TrainedPolicy, export_onnx
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import DiracPolicy

__all__ = ["actors", "markdown", "measure"]

Actor = Callable[[np.ndarray], Any]
"""From one observation (o,) of float32 to an action."""
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}
_TURN = 1000
_WARM_UP = 100
_SLOW, _FEWER = 1e-3, 20


@dataclass(frozen=True)
class Arguments:
    """The latency of one action, of the policy and of peers that are there."""

    output: Path
    """The JSON that is written."""
    calls: int = 100_000
    """Of each row; a twentieth of a slow one."""
    threads: int = 1
    """Of PyTorch; ONNX Runtime has one."""


def actors(folder: Path) -> dict[str, Actor]:
    """Returns what is timed, by its row's name.

    Args:
        folder: where the exported policy goes.
    """
    torch.manual_seed(0)
    policy = TrainedPolicy(
        DiracPolicy(OBSERVATION, ACTION),
        ObservationScaling.identity(OBSERVATION),
        ActionScaling(-torch.ones(ACTION), torch.ones(ACTION)),
    )
    exported = export_onnx(policy, folder / "policy.onnx").path
    guarded = Policy(exported)
    found: dict[str, Actor] = {
        "ours, ONNX Runtime": lambda x: guarded.session.run(None, {"observation": x[None]}),
        "ours, ONNX Runtime, int8": _int8(exported),
        "ours, ONNX Runtime with names and guard": lambda x: guarded(
            dict(zip(guarded.sensors, x.tolist(), strict=True))
        ),
        "ours, PyTorch": policy,
        "diffusion policy, 5 steps of DDIM": _diffusion(),
    }
    if "SCOREREGS_SRPO" in os.environ:
        found["the paper's code"] = _paper(Path(os.environ["SCOREREGS_SRPO"]))
    if "SCOREREGS_CORL" in os.environ:
        checkout = Path(os.environ["SCOREREGS_CORL"])
        found["CORL's IQL"] = act_of_corl(checkout, OBSERVATION, ACTION)
    if find_spec("d3rlpy") is not None:
        found["d3rlpy's IQL"] = act_of_d3rlpy(OBSERVATION, ACTION)
    return found


def _int8(exported: Path) -> Actor:
    """Returns the policy with weights and activations of its products as 8-bit integers."""
    small = exported.with_suffix(".int8.onnx")
    quantize_dynamic(exported, small)
    options: Any = onnxruntime.SessionOptions()  # pyright: ignore[reportAttributeAccessIssue]
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"observation": x[None]})


def _diffusion() -> Actor:
    act = DiffusionPolicy(
        BehaviorStage(OBSERVATION, ACTION, BehaviorConfig()).network.eval(),
        CriticStage(OBSERVATION, ACTION, CriticConfig()).critic,
        action_size=ACTION,
        sampler="DDIM",
        steps=5,
        candidates=1,
    )
    return lambda x: act(torch.from_numpy(x)[None]).numpy()


def _paper(checkout: Path) -> Actor:
    code = PaperCode(checkout, OBSERVATION, ACTION)
    policy = code.policy().SRPO_policy

    @torch.no_grad()
    def act(x: np.ndarray) -> np.ndarray:
        return policy(torch.from_numpy(x)[None].to(code.device)).cpu().numpy()

    return act


def measure(found: dict[str, Actor], calls: int) -> list[dict[str, Any]]:
    """Returns percentiles of each row's latency, in microseconds.

    Args:
        found: the rows.
        calls: of each; of one that takes longer than a millisecond a twentieth.
    """
    observations = np.random.default_rng(0).normal(size=(_TURN, OBSERVATION)).astype(np.float32)
    taken = {name: np.empty(calls) for name in found}
    for name, act in found.items():
        start = time.perf_counter()
        for x in observations[:_WARM_UP]:
            act(x)
        if time.perf_counter() - start > _WARM_UP * _SLOW:
            taken[name] = np.empty(min(calls, max(_TURN, calls // _FEWER)))
    for first in range(0, calls, _TURN):
        for name, act in found.items():
            for call, x in zip(
                range(first, min(first + _TURN, len(taken[name]))), observations, strict=False
            ):
                start = time.perf_counter_ns()
                act(x)
                taken[name][call] = time.perf_counter_ns() - start
    return [
        {"row": name, "calls": len(its)}
        | {key: float(np.percentile(its, share)) / 1e3 for key, share in PERCENTILES.items()}
        | {"largest": float(its.max()) / 1e3}
        for name, its in taken.items()
    ]


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table.

    Example:
        >>> row = {"row": "ours", "p50": 12.51, "p99": 20.0, "p99.9": 30.0, "largest": 1234.5}
        >>> print(markdown([row]).splitlines()[-1])
        | ours | 12.5 | 20.0 | 30.0 | 1234.5 |
    """
    columns = [*PERCENTILES, "largest"]
    lines = [f"| Microseconds | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for row in rows:
        lines.append(f"| {row['row']} | {' | '.join(f'{row[c]:.1f}' for c in columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(actors(Path(folder)), arguments.calls)
    content = {
        "command": public_command("benchmarks.speed.latency", sys.argv[1:]),
        "threads": arguments.threads,
        **machine(),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))


if __name__ == "__main__":
    main()
