"""One objective step on a small UNet of diffusers, beside the same step by hand.

pytest benchmarks/speed/test_overhead.py --benchmark-only --benchmark-json=overhead.json

Both take the same draws and leave the same x.grad. A row of ours is timed in turn with the step by
hand: `extra_info` holds the tries, each with the median ratio of the pairs and its interval, and
the ratio of the peaks of memory above what is held before a step. Fails where the ratio is beyond
1.02 in three of three tries, or the memory beyond 1.02 times that of the step by hand.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.paired import assert_within
from scoreregs import ScoreRegularizedObjective
from scoreregs_diffusers import DiffusersPrior

BATCH, CHANNELS, SIZE = 8, 3, 32
BETA, ROUNDS, WARM_UP, LIMIT = 0.1, 40, 3, 1.02
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Step = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Setting:
    """What both steps are made of; the target is None for pure distillation."""

    unet: nn.Module
    scheduler: DDPMScheduler
    x: Tensor
    target: Tensor | None

    @classmethod
    def of(cls, variant: str) -> "Setting":
        """Returns the same network and images for the same variant."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet = UNet2DModel(
                sample_size=SIZE,
                in_channels=CHANNELS,
                out_channels=CHANNELS,
                block_out_channels=(32, 64, 64),
                down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
                norm_num_groups=8,
            )
        generator = torch.Generator().manual_seed(0)
        x, target = torch.randn(2, BATCH, CHANNELS, SIZE, SIZE, generator=generator).to(DEVICE)
        chosen = target if variant == "value" else None
        return cls(frozen(unet), DDPMScheduler(), x.requires_grad_(), chosen)

    def generator(self) -> torch.Generator:
        """Returns a generator of the draws, the same at every call."""
        return torch.Generator(DEVICE).manual_seed(0)


def frozen(network: nn.Module) -> nn.Module:
    """Returns the network on the device, as a prior's is."""
    return network.to(DEVICE).eval().requires_grad_(False)


def value_of(x: Tensor, target: Tensor) -> Tensor:
    """Returns the value of images, minus their squared distance from a target, (batch,)."""
    return -(x - target).square().flatten(1).sum(1)


def ours(setting: Setting) -> Step:
    """Returns a step of the objective."""
    x, target = setting.x, setting.target

    value = None if target is None else lambda x, condition: value_of(x, target)
    objective = ScoreRegularizedObjective.from_value(
        value,
        DiffusersPrior(setting.unet, setting.scheduler),
        beta=BETA,
        generator=setting.generator(),
    )

    def step() -> None:
        x.grad = None
        objective(x).loss.backward()

    return step


def by_hand(setting: Setting) -> Step:
    """Returns the step as one writes it for one network, one schedule and one weight."""
    unet, x, target = setting.unet, setting.x, setting.target
    generator = setting.generator()
    kept = setting.scheduler.alphas_cumprod.double().to(DEVICE)

    def step() -> None:
        x.grad = None
        u = torch.rand(BATCH, generator=generator, dtype=torch.float64, device=DEVICE)
        k = ((0.02 + 0.96 * u) * len(kept)).round().long() - 1
        alpha, sigma = (c.sqrt().float()[:, None, None, None] for c in (kept[k], 1 - kept[k]))
        noise = torch.randn(x.shape, generator=generator, device=DEVICE)
        with torch.no_grad():
            epsilon = unet(alpha * x + sigma * noise, k, return_dict=False)[0]
            gradient = sigma**2 * (epsilon - noise) / BETA
        if target is not None:
            leaf = x.detach().requires_grad_()
            gradient = gradient - torch.autograd.grad(value_of(leaf, target).sum(), leaf)[0]
        (x * gradient).flatten(1).sum(1).mean().backward()

    return step


def waited(step: Step) -> Step:
    """Returns the step until the device is done with it."""
    if DEVICE == "cpu":
        return step

    def wait() -> None:
        step()
        torch.cuda.synchronize()

    return wait


def peak_memory(step: Step) -> int:
    """Returns the bytes that a step holds at most above what is held before it."""
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    memory = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    held = peak = 0
    for event in memory:
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def gradient_of(setting: Setting, step: Step) -> Tensor:
    step()
    assert setting.x.grad is not None
    return setting.x.grad.clone()


@pytest.mark.parametrize("variant", ["value", "distillation"])
def test_same_gradient(variant: str) -> None:
    setting = Setting.of(variant)
    expected = gradient_of(setting, by_hand(setting))
    torch.testing.assert_close(gradient_of(setting, ours(setting)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", ["value", "distillation"])
def test_by_hand(benchmark: Any, variant: str) -> None:
    benchmark.group = f"UNet step, {variant}"
    step = waited(by_hand(Setting.of(variant)))
    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=WARM_UP, iterations=1)


@pytest.mark.parametrize("variant", ["value", "distillation"])
def test_ours(benchmark: Any, variant: str) -> None:
    benchmark.group = f"UNet step, {variant}"
    setting = Setting.of(variant)
    step, hand = waited(ours(setting)), waited(by_hand(setting))
    tries = assert_within(step, hand, ROUNDS, lambda x: x.ratio <= LIMIT, f"a ratio of {LIMIT}")
    benchmark.extra_info["tries"] = [asdict(x) for x in tries]
    benchmark.extra_info["memory_ratio"] = memory_ratio = peak_memory(step) / peak_memory(hand)
    assert memory_ratio <= LIMIT
    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=WARM_UP, iterations=1)
