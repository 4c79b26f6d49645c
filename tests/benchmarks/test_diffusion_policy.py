"""Samples of a known behavior, and the best of them."""

import pytest
import torch
from torch import Tensor

from benchmarks.diffusion_policy import SAMPLERS, DiffusionPolicy
from scoreregs import VPSchedule
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import BehaviorNetwork, EnsembleQ, ValueNetwork

STD = 0.1


class GaussianBehavior(BehaviorNetwork):
    """The noise prediction of actions N(s / 2, STD^2), in closed form."""

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Tensor, dropout_masks: Tensor | None = None
    ) -> Tensor:
        del dropout_masks
        alpha, sigma = (value[:, None] for value in VPSchedule()(t))
        return sigma * (x_t - alpha * condition / 2) / ((alpha * STD) ** 2 + sigma**2)


class TargetQ(EnsembleQ):
    """The nearer to 0.3 in every dimension, the better."""

    def forward(self, action: Tensor, observation: Tensor) -> tuple[Tensor, Tensor]:
        del observation
        value = -(action - 0.3).square().sum(-1)
        return value, value


def policy(sampler: str, steps: int, candidates: int) -> DiffusionPolicy:
    critic = Critic(TargetQ(2, 2), ValueNetwork(2))
    network = GaussianBehavior(2, 2)
    return DiffusionPolicy(
        network, critic, action_size=2, sampler=sampler, steps=steps, candidates=candidates
    )


@pytest.mark.parametrize(("sampler", "steps"), [("DPM-Solver", 15), ("DDIM", 200), ("DDPM", 500)])
def test_a_sample_is_of_the_behavior(sampler: str, steps: int) -> None:
    assert sampler in SAMPLERS
    observations = torch.tensor([[0.8, -0.4]]).expand(4000, 2)
    actions = policy(sampler, steps, 1)(observations)
    torch.testing.assert_close(actions.mean(0), torch.tensor([0.4, -0.2]), atol=0.01, rtol=0)
    torch.testing.assert_close(actions.std(0), torch.full((2,), STD), atol=0.01, rtol=0)


def test_the_best_of_several_is_taken_for_each_observation() -> None:
    observations = torch.tensor([[0.6, 0.6], [-0.6, -0.6]]).repeat(200, 1)
    one, best = (policy("DPM-Solver", 15, count)(observations) for count in (1, 32))
    # Around 0.3 itself the nearest of 32 in two dimensions is a fifth of a deviation away or so.
    assert (one[::2] - 0.3).norm(dim=-1).mean() > 0.1
    assert (best[::2] - 0.3).norm(dim=-1).mean() < 0.04
    # Around -0.3 it is off the mean by a deviation or two, and still far from 0.3.
    torch.testing.assert_close(one[1::2].mean(0), torch.full((2,), -0.3), atol=0.03, rtol=0)
    assert (best[1::2].mean(0) > -0.2).all()
    assert (best[1::2] < 0.1).all()


def test_samples_are_within_the_bounds() -> None:
    actions = policy("DPM-Solver", 15, 4)(torch.full((50, 2), 10.0))
    assert actions.equal(torch.ones(50, 2))
