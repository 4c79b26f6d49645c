"""Where the variance is measured: a prior, points, and a policy whose outputs are near them.

Each prior is seen at two places. `data`: at its own samples. `away`: where a strong value has
pulled x: for a closed-form prior the data moved by twice their root mean square radius in one
direction; for actions in [-1, 1] the corners of .95 of the box that a value linear in the action
prefers, by state. The policies are regressed on the same points from the states, so that their
outputs lie near them as a trained policy's do; a closed-form prior's states are its samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from scoreregs import (
    GaussianMixturePrior,
    NetworkPrior,
    NoiseSchedule,
    ScorePrior,
    VPSchedule,
    fit_prior,
)
from scoreregs_offline_rl import load_data, load_models
from scoreregs_offline_rl.runs.paper_weights import load_paper_behavior
from scoreregs_offline_rl.stages.networks import BehaviorNetwork, DiracPolicy, mlp

__all__ = ["Case", "closed_form", "gaussian", "mixture", "paper_weights", "pendulum", "trained_run"]

BATCH = 256
SAMPLES = 4096


@dataclass(frozen=True, eq=False)
class Case:
    """One place of one prior.

    Attributes:
        prior: its name.
        place: "data" or "away".
        model: the prior.
        x: points, (256, d).
        condition: of x, None or (256, o).
        policy: maps states to x.
        states: (256, o).
    """

    prior: str
    place: str
    model: ScorePrior
    x: Tensor
    condition: Tensor | None
    policy: nn.Module
    states: Tensor

    @property
    def name(self) -> str:
        """Prior and place."""
        return f"{self.prior}, {self.place}"


def gaussian(
    d: int, generator: Generator, schedule: NoiseSchedule | None = None
) -> GaussianMixturePrior:
    """Returns a correlated Gaussian whose variances go from .1 to 1."""
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    covariance = (rotation * torch.logspace(-1, 0, d, dtype=torch.float64)) @ rotation.T
    return GaussianMixturePrior(
        [1.0], torch.zeros(1, d), covariance[None], schedule or VPSchedule()
    )


def mixture(
    d: int, generator: Generator, schedule: NoiseSchedule | None = None
) -> GaussianMixturePrior:
    """Returns 5 (10 from d = 64 on) narrow components around standard normal means."""
    count = 5 if d < 64 else 10
    means = torch.randn(count, d, generator=generator, dtype=torch.float64)
    covariances = 0.05 * torch.eye(d).expand(count, d, d)
    weights = torch.ones(count) / count
    return GaussianMixturePrior(weights, means, covariances, schedule or VPSchedule())


def closed_form(dimensions: tuple[int, ...], policy_steps: int, seed: int) -> Iterator[Case]:
    """Yields the Gaussians and mixtures at both places."""
    for d in dimensions:
        for kind, make in (("Gaussian", gaussian), ("mixture", mixture)):
            generator = torch.Generator().manual_seed(seed)
            prior = make(d, generator)
            data = prior.draw(SAMPLES, generator=generator).float()
            radius = (data - data.mean(0)).square().sum(1).mean().sqrt()
            shift = F.normalize(torch.randn(d, generator=generator), dim=0)
            places = {"data": data, "away": data + 2 * radius * shift}
            for place, target in places.items():
                policy = _regressed(mlp([d, 64, 64, d]), data, target, policy_steps, seed)
                x, states = target[:BATCH], data[:BATCH]
                yield Case(f"{kind} {d}", place, prior, x, None, policy, states)


def pendulum(behavior_steps: int, policy_steps: int, seed: int) -> Iterator[Case]:
    """Yields a small network that is trained here on the embedded data set, at both places."""
    data = load_data("pendulum-swingup")
    scale = data.observations.std(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BehaviorNetwork(data.observations.shape[1], data.actions.shape[1], width=128)
    # The torque is within [-2, 2].
    observations, actions = data.observations / scale, data.actions / 2
    prior = fit_prior(
        network,
        actions,
        VPSchedule(),
        condition=observations,
        steps=behavior_steps,
        generator=torch.Generator().manual_seed(seed),
    )
    yield from _of_behavior("pendulum", prior, observations, actions, policy_steps, seed)


def trained_run(run_dir: Path, policy_steps: int, seed: int) -> Iterator[Case]:
    """Yields the behavior model of a finished run, at both places."""
    models = load_models(run_dir)
    policy, data = models.policies["policy"], load_data(models.config.data)
    observations = policy.observation_scaling(data.observations)
    actions = policy.action_scaling.normalize(data.actions)
    yield from _of_behavior("run", models.prior, observations, actions, policy_steps, seed)


def paper_weights(weights: Path, file: Path, policy_steps: int, seed: int) -> Iterator[Case]:
    """Yields the behavior model in a checkpoint of the paper's code, on the data it was fit to."""
    data, prior = load_data(str(file)), NetworkPrior(load_paper_behavior(weights), VPSchedule())
    yield from _of_behavior(file.stem, prior, data.observations, data.actions, policy_steps, seed)


def _of_behavior(
    name: str, prior: ScorePrior, states: Tensor, actions: Tensor, policy_steps: int, seed: int
) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(states), generator=generator)[:SAMPLES]
    states, actions = states[chosen], actions[chosen]
    slope = torch.randn(states.shape[1], actions.shape[1], generator=generator)
    standard = (states - states.mean(0)) / (states.std(0) + 1e-6)
    places = {"data": actions, "away": 0.95 * torch.sign(standard @ slope)}
    for place, target in places.items():
        network = DiracPolicy(states.shape[1], actions.shape[1])
        policy = _regressed(network, states, target, policy_steps, seed)
        x, batch = target[:BATCH], states[:BATCH]
        yield Case(name, place, prior, x, batch, policy, batch)


def _regressed(
    policy: nn.Module, states: Tensor, target: Tensor, steps: int, seed: int
) -> nn.Module:
    """Returns the policy, initialised by the seed and fit to the target by least squares."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in policy.parameters():
        bound = parameter.shape[-1] ** -0.5
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = torch.randint(len(states), (BATCH,), generator=generator)
        optimizer.zero_grad()
        F.mse_loss(policy(states[rows]), target[rows]).backward()
        optimizer.step()
    return policy
