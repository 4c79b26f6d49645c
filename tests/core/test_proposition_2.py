"""Proposition 2: the averaged gradient is that of Eq. 16, parameter by parameter, for a policy.

The surrogate is integrated in x_t on a grid, with the diffused mixture from torch.distributions,
and differentiated through the grid by autograd. The objective's side is Gauss-Hermite in the noise.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal, kl_divergence

from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
from tests.core.ground_truth import (
    WEIGHTINGS,
    WEIGHTS,
    time_and_noise_nodes,
    time_nodes,
    vp_scales,
)

BETA = 0.3
STATES = torch.tensor([[-1.0, 0.5], [0.2, 0.3], [0.9, -1.2]], dtype=torch.float64)


class Policy(nn.Module):
    """A deterministic actor of 17 parameters."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.hidden, self.out = nn.Linear(2, 4).double(), nn.Linear(4, 1).double()
        for parameter in self.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data = 0.6 * noise

    def forward(self, state: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(state)))


def behavior(state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two modes that move with the state: weights, means (b, 2, 1) and covariances."""
    first = torch.sigmoid(state[:, :1])
    means = torch.stack([state[:, :1] - 0.5, 0.8 - state[:, 1:]], dim=1)
    variances = torch.stack([0.2 + 0.1 * first, 0.3 + 0 * first], dim=1)
    return torch.cat([first, 1 - first], dim=1), means, variances[..., None]


def q(action: Tensor, state: Tensor) -> Tensor:
    return torch.sin(action[:, 0] + state[:, 0]) - 0.2 * (action[:, 0] - state[:, 1]) ** 2


def kullback_leibler(policy: Normal, behavior: Distribution) -> Tensor:
    """KL[policy || behavior], (b,), differentiable in the (b, 1) mean of a Gaussian policy."""
    sigma = policy.stddev.flatten()[0].item()
    step = sigma / 6
    offsets = torch.arange(-9 * sigma, 9 * sigma, step, dtype=torch.float64)
    x_t = policy.mean.detach() + offsets
    log_policy, log_behavior = policy.log_prob(x_t), behavior.log_prob(x_t.T).T
    return (log_policy.exp() * (log_policy - log_behavior)).sum(1) * step


def surrogate(policy: Policy, weight: str) -> Tensor:
    """Eq. 16, the mean over the states."""
    action = policy(STATES)
    weights, means, covariances = behavior(STATES)
    total = q(action, STATES)
    for t, share in zip(*time_nodes(28), strict=True):
        alpha, sigma = vp_scales(float(t))
        scale = torch.sqrt(alpha**2 * covariances[..., 0, 0] + sigma**2)
        diffused = MixtureSameFamily(Categorical(weights), Normal(alpha * means[..., 0], scale))
        divergence = kullback_leibler(Normal(alpha * action, sigma), diffused)
        total = total - share * WEIGHTS[weight](alpha, sigma) * sigma / alpha * divergence / BETA
    return total.mean()


@pytest.mark.parametrize("baseline", ["noise", "none"])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_gradient_of_every_parameter(weight, baseline):
    policy = Policy()
    surrogate(policy, weight).backward()
    expected = {name: -p.grad for name, p in policy.named_parameters() if p.grad is not None}
    policy.zero_grad()

    t, noise, share = time_and_noise_nodes(28, 60, 1)
    prior = GaussianMixturePrior.conditional(behavior, VPSchedule())
    objective = ScoreRegularizedObjective.from_value(
        q,
        prior,
        beta=BETA,
        weighting=WEIGHTINGS[weight],
        baseline=baseline,
        reduction="none",
    )
    states = STATES.repeat_interleave(len(t), dim=0)
    result = objective(policy(states), states, t=t.repeat(3), noise=noise.repeat(3, 1))
    (share.repeat(3) @ result.loss / 3).backward()

    assert len(expected) == 4
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_divergence_of_the_surrogate_is_right():
    """Between two Gaussians it is the closed form of torch.distributions."""
    mean = torch.tensor([[0.2], [-0.7]], dtype=torch.float64)
    policy = Normal(mean, torch.full_like(mean, 0.3))
    behavior = Normal(torch.zeros_like(mean[:, 0]), torch.full_like(mean[:, 0], 0.8))
    expected = kl_divergence(policy, Normal(behavior.mean[:, None], behavior.stddev[:, None]))
    torch.testing.assert_close(
        kullback_leibler(policy, behavior), expected[:, 0], rtol=1e-12, atol=0
    )
