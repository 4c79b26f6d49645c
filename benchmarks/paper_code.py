"""The paper's own models and training steps, from a checkout of thu-ml/SRPO, on this machine."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreregs import VPSchedule
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Batch

__all__ = ["PaperCode", "as_paper_batch", "checked_checkout"]


def checked_checkout(checkout: Path | None) -> Path:
    """Returns the folder of the paper's code, once it is known to hold it.

    Raises:
        ArgumentError: it does not, or there is none.
    """
    if checkout is None or not (checkout / "SRPO.py").is_file():
        got = "no --paper-code" if checkout is None else f"--paper-code {checkout} without SRPO.py"
        raise ArgumentError(f"got {got}, expected a checkout of github.com/thu-ml/SRPO")
    return checkout


class PaperCode:
    """Builds the three models at given sizes; calls for CUDA go to the CPU where there is none.

    Args:
        checkout: Of github.com/thu-ml/SRPO.
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
        beta: Its temperature, which multiplies the value.
        policy_steps: Length of its cosine decay.
    """

    def __init__(
        self,
        checkout: Path,
        observation_size: int,
        action_size: int,
        *,
        beta: float = 0.01,
        policy_steps: int = 1_000_000,
    ) -> None:
        self.observation_size, self.action_size = observation_size, action_size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._arguments = Namespace(
            actor_blocks=3,
            beta=beta,
            device=self.device,
            env="locomotion",
            n_policy_epochs=policy_steps / 10_000,
            policy_layer=2,
            q_layer=2,
            regq=0,
            WT="VDS+noise",
        )
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
        if self.device == "cpu":
            _redirect_cuda()
        self._module = importlib.import_module("SRPO")

    def critic(self) -> Any:
        """Returns IQL without its advantage-weighted regression; `update_q0(batch)` is its step."""
        return self._module.IQL_Critic(
            adim=self.action_size, sdim=self.observation_size, args=self._arguments
        )

    def behavior(self) -> Any:
        """Returns the diffusion model; `update_behavior(batch)` is its step."""
        return self._extraction("SRPO_Behavior")

    def policy(self) -> Any:
        """Returns the extraction; `update_SRPO_policy(batch)` is its step."""
        return self._extraction("SRPO")

    def _extraction(self, name: str) -> Any:
        return getattr(self._module, name)(
            input_dim=self.observation_size + self.action_size,
            output_dim=self.action_size,
            marginal_prob_std=VPSchedule(),
            args=self._arguments,
        ).to(self.device)


def as_paper_batch(batch: Batch) -> dict[str, Tensor]:
    """Returns a batch under the names, and in the shapes, that the code takes it in."""
    return {
        "s": batch.observations,
        "a": batch.actions,
        "r": batch.rewards[:, None],
        "s_": batch.next_observations,
        "d": batch.terminals[:, None].float(),
    }


def _redirect_cuda() -> None:
    original: Callable[..., nn.Module] = nn.Module.to

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        return original(self, *("cpu" if a == "cuda" else a for a in args), **kwargs)

    nn.Module.to = to
