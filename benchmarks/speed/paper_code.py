"""The paper's own training steps, from a checkout of thu-ml/SRPO, on this machine."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreregs import VPSchedule

__all__ = ["PaperSteps"]


class PaperSteps:
    """Builds the three steps at given sizes; calls for CUDA go to the CPU where there is none."""

    def __init__(self, checkout: Path, observation_size: int, action_size: int) -> None:
        self.sizes = {"input_dim": observation_size + action_size, "output_dim": action_size}
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
        if self.device == "cpu":
            _redirect_cuda()
        self.module = importlib.import_module("SRPO")

    def critic(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Returns IQL's step without its advantage-weighted actor."""
        critic = self.module.IQL_Critic(
            adim=self.sizes["output_dim"],
            sdim=self.sizes["input_dim"] - self.sizes["output_dim"],
            args=self._arguments(),
        )
        return lambda: critic.update_q0(batch)

    def behavior(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Returns the diffusion model's step."""
        model = self.module.SRPO_Behavior(
            **self.sizes, marginal_prob_std=self._scales, args=self._arguments()
        ).to(self.device)
        return lambda: model.update_behavior(batch)

    def policy(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Returns the extraction's step."""
        model = self.module.SRPO(
            **self.sizes, marginal_prob_std=self._scales, args=self._arguments()
        ).to(self.device)
        return lambda: model.update_SRPO_policy(batch)

    def _arguments(self) -> Namespace:
        return Namespace(
            actor_blocks=3,
            beta=0.01,
            device=self.device,
            env="halfcheetah-medium-expert-v2",
            n_policy_epochs=100,
            policy_layer=2,
            q_layer=2,
            regq=0,
            WT="VDS+noise",
        )

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return VPSchedule()(t)


def _redirect_cuda() -> None:
    original: Callable[..., nn.Module] = nn.Module.to

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        return original(self, *("cpu" if a == "cuda" else a for a in args), **kwargs)

    nn.Module.to = to
