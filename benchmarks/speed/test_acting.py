"""The latency of acting: the policy, its ONNX file, and diffusion policies on the same network.

pytest benchmarks/speed/test_acting.py --benchmark-json=acting.json
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.diffusion_policy import SAMPLERS, DiffusionPolicy
from benchmarks.speed.limits import flops_of
from benchmarks.speed.workload import ACTION, OBSERVATION
from scoreregs_offline_rl import BehaviorConfig, CriticConfig, TrainedPolicy, export_onnx
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import DiracPolicy

STATES = (1, 32, 1024)


@pytest.fixture(scope="module")
def policy() -> TrainedPolicy:
    torch.manual_seed(0)
    return TrainedPolicy(
        DiracPolicy(OBSERVATION, ACTION),
        ObservationScaling.identity(OBSERVATION),
        ActionScaling(-torch.ones(ACTION), torch.ones(ACTION)),
    )


def observations(states: int) -> torch.Tensor:
    return torch.randn(states, OBSERVATION, generator=torch.Generator().manual_seed(0))


def group(states: int) -> str:
    return f"acting on {states} state{'s' if states > 1 else ''}"


@pytest.mark.parametrize("states", STATES)
def test_policy_in_torch(benchmark: Any, policy: TrainedPolicy, states: int) -> None:
    benchmark.group = group(states)
    inputs = observations(states)
    benchmark.extra_info["flops"] = flops_of(lambda: policy(inputs))
    with torch.inference_mode():
        benchmark.pedantic(policy, args=(inputs,), rounds=1000, warmup_rounds=100, iterations=1)


@pytest.mark.parametrize("states", STATES)
def test_policy_in_onnx(benchmark: Any, policy: TrainedPolicy, states: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    benchmark.group = group(states)
    path = export_onnx(policy, tmp_path / "policy.onnx").path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    inputs = {"observation": observations(states).numpy().astype(np.float32)}
    benchmark.pedantic(
        session.run, args=(None, inputs), rounds=1000, warmup_rounds=100, iterations=1
    )


@pytest.mark.parametrize("candidates", [1, 32, 64])
@pytest.mark.parametrize("steps", [5, 15, 100])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_diffusion_policy(benchmark: Any, sampler: str, steps: int, candidates: int) -> None:
    benchmark.group = group(1)
    torch.manual_seed(0)
    act = DiffusionPolicy(
        BehaviorStage(OBSERVATION, ACTION, BehaviorConfig()).network,
        CriticStage(OBSERVATION, ACTION, CriticConfig()).critic,
        action_size=ACTION,
        sampler=sampler,
        steps=steps,
        candidates=candidates,
    )
    state = observations(1)
    benchmark.extra_info["flops"] = flops_of(lambda: act(state))
    rounds = max(5, 500 // steps)
    benchmark.pedantic(act, args=(state,), rounds=rounds, warmup_rounds=3, iterations=1)
