"""The training of a one-step generator and of the prior of what it makes, in turns."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from scoreregs.arguments import accepts, check_count, check_function, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.reprs import Constructed
from scoreregs.results import ObjectiveResult, mean_of
from scoreregs.trees import Condition

__all__ = ["Distillation", "DistillationResult"]


@dataclass(frozen=True, repr=False)
class DistillationResult:
    """What a step of a distillation returns.

    Attributes:
        objective: of the generator's batch.
        fake_loss: the fake prior's loss in its last step, detached.
    """

    objective: ObjectiveResult
    fake_loss: Tensor

    @override
    def __repr__(self) -> str:
        return f"DistillationResult({self.objective!r}, fake_loss={mean_of(self.fake_loss)})"


@named_calls
class Distillation(Constructed):
    r"""A generator that learns what a prior knows, and a fake prior that learns what it makes.

    For objective and loss of `scoreregs.recipes.vsd`, `diff_instruct`, `sid` or `di_star`, whatever
    the priors predict and on whatever schedules. A step is `fake_steps` steps of the fake prior on
    new samples of the generator, then one of the generator. The two optimisers are yours, and so is
    what makes a batch; save their state, the two networks' and the objective's to go on later.

    Args:
        generator: returns samples x, (batch, *event), of a latent and a condition, or of a latent.
        objective: its objective.
        fit: the loss of the fake prior at samples and condition.
        optimizer: of the generator's parameters.
        fake_optimizer: of the fake prior's.
        fake_steps: how many steps of the fake prior go before one of the generator, at least 1: the
            fake score has to follow the generator; DMD2 takes 5.

    Raises:
        ArgumentError: for less than one fake step, or what is not such a part; at the first step,
            where an optimiser has no parameter that its loss depends on.

    References:
        Yin et al., Improved Distribution Matching Distillation for Fast Image Synthesis, NeurIPS
        2024, for several fake steps a generator step.

    Example:
        >>> from scoreregs import GaussianMixturePrior, NetworkPrior, VPSchedule
        >>> from scoreregs.recipes import vsd
        >>> prior = GaussianMixturePrior([1.0], [[1.0]], [[[1.0]]], VPSchedule())
        >>> generator, network = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        >>> fake = NetworkPrior(lambda x_t, t, condition: network(x_t), VPSchedule())
        >>> objective, fit = vsd(prior, fake)
        >>> distillation = Distillation(
        ...     lambda z, condition: generator(z),
        ...     objective,
        ...     fit,
        ...     optimizer=torch.optim.Adam(generator.parameters()),
        ...     fake_optimizer=torch.optim.Adam(network.parameters()),
        ... )
        >>> result = distillation.step(lambda: (torch.randn(8, 1), None))
    """

    def __init__(
        self,
        generator: Callable[..., Tensor],
        objective: ScoreRegularizedObjective,
        fit: Callable[..., Tensor],
        *,
        optimizer: Optimizer,
        fake_optimizer: Optimizer,
        fake_steps: int = 5,
    ) -> None:
        check_function("generator", generator, "(latent, condition)")
        check_function("fit", fit, "(x, condition), as a recipe returns it")
        if not isinstance(objective, ScoreRegularizedObjective):
            raise ArgumentError(
                f"got an objective of type {type(objective).__name__}, expected a "
                "ScoreRegularizedObjective: `objective, fit = vsd(prior, fake)`"
            )
        for name, each in (("optimizer", optimizer), ("fake_optimizer", fake_optimizer)):
            if not isinstance(each, Optimizer):
                raise ArgumentError(
                    f"got {name} of type {type(each).__name__}, expected a torch optimiser, such "
                    "as torch.optim.Adam(network.parameters())"
                )
        check_count("fake_steps", fake_steps)
        self.generator = _of_two(generator)
        self.objective = objective
        self.fit = fit
        self.optimizer = optimizer
        self.fake_optimizer = fake_optimizer
        self.fake_steps = fake_steps
        self._checked: set[str] = set()

    @named_calls
    def step(self, draw: Callable[[], tuple[Tensor, Condition]]) -> DistillationResult:
        """Returns what came of one step of the generator, after those of the fake prior.

        Args:
            draw: returns a batch of latents and of conditions, new ones at each call.
        """
        check_function("draw", draw, "nothing")
        for _ in range(self.fake_steps - 1):
            self._fit_fake(*_pair(draw()))
        fake_loss = self._fit_fake(*_pair(draw()))
        latent, condition = _pair(draw())
        result = self.objective(self.generator(latent, condition), condition)
        self._descend("optimizer", self.optimizer, result.loss.sum(), "generator")
        return DistillationResult(result, fake_loss)

    def _fit_fake(self, latent: Tensor, condition: Condition) -> Tensor:
        with torch.no_grad():
            x = self.generator(latent, condition)
        loss = self.fit(x, condition)
        if not isinstance(loss, Tensor) or loss.ndim:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ArgumentError(
                f"got {got} from fit, expected a loss of shape (): give the second part of what a "
                "recipe returns"
            )
        self._descend("fake_optimizer", self.fake_optimizer, loss, "fake prior's network")
        return loss.detach()

    def _descend(self, name: str, optimizer: Optimizer, loss: Tensor, owner: str) -> None:
        """Takes one step; the first time it looks whether there is anything to move."""
        optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        if name not in self._checked:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if all(p.grad is None for p in parameters):
                raise ArgumentError(
                    f"got an {name} none of whose parameters has a gradient, expected one of the "
                    f"{owner}'s parameters, which require one: x is not to be detached, and the "
                    "two optimisers are not to be swapped"
                )
            self._checked.add(name)
        optimizer.step()


def _of_two(generator: Callable[..., Tensor]) -> Callable[[Tensor, Condition], Tensor]:
    """Returns a generator as a function of (latent, condition), whether it takes that or not."""
    if accepts(generator, 2) is False and accepts(generator, 1):
        return lambda latent, condition: generator(latent)
    return generator


def _pair(drawn: object) -> tuple[Tensor, Condition]:
    """Returns what was drawn, latents and conditions.

    Raises:
        ArgumentError: for anything but two.
    """
    if not isinstance(drawn, (tuple, list)) or len(drawn) != 2:
        raise ArgumentError(
            f"got a {type(drawn).__name__} from draw, expected (latent, condition): return "
            "(latent, None) without conditions"
        )
    return drawn[0], drawn[1]
