"""Acting with the diffusion model itself: what Figures 1 and 5 compare the policy with."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from scoreregs_offline_rl.stages.critic import Critic

__all__ = ["SAMPLERS", "DiffusionPolicy"]

_TIMESTEPS = 1000
# diffusers' linear table from 1e-4 to 0.02 is the VP schedule in a thousand steps.
_TABLE = {"num_train_timesteps": _TIMESTEPS, "beta_schedule": "linear"}
SAMPLERS: dict[str, Callable[[], Any]] = {
    "DDPM": partial(DDPMScheduler, **_TABLE),
    "DDIM": partial(DDIMScheduler, **_TABLE),
    # Steps even in log-SNR: of 15 even in time, the last would start where sigma is still 0.2.
    "DPM-Solver": partial(DPMSolverMultistepScheduler, **_TABLE, use_lu_lambdas=True),
}


class DiffusionPolicy:
    """Samples candidate actions from the behavior model and takes the one of the highest Q.

    Args:
        network: The behavior network, or another noise prediction of x_t, t and observations.
        critic: Ranks the candidates.
        action_size: Dimensions of an action.
        sampler: One of `SAMPLERS`.
        steps: Evaluations of the network.
        candidates: Actions to choose from.
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        critic: Critic,
        *,
        action_size: int,
        sampler: str,
        steps: int,
        candidates: int,
    ) -> None:
        self._network, self._critic, self._size = network, critic, action_size
        self._scheduler = SAMPLERS[sampler]()
        self._steps, self._candidates = steps, candidates
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def __call__(self, observations: Tensor) -> Tensor:
        """Returns an action for each observation, (batch, a)."""
        batch, size = len(observations), self._size
        repeated = observations.repeat_interleave(self._candidates, dim=0)
        x = torch.randn(len(repeated), size, generator=self._generator)
        self._scheduler.set_timesteps(self._steps)
        for k in self._scheduler.timesteps:
            t = ((k + 1) / _TIMESTEPS).expand(len(x))
            epsilon = self._network(x, t, repeated)
            x = self._scheduler.step(epsilon, k, x).prev_sample
        x = x.clamp(-1, 1)
        if self._candidates == 1:
            return x
        values = self._critic.target_q.mean(x, repeated).reshape(batch, self._candidates)
        best = values.argmax(1)
        return x.reshape(batch, self._candidates, size)[torch.arange(batch), best]
