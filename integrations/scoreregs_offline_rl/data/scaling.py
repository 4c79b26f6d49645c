"""Scalings of observations, actions and rewards, fitted once and stored with the policy."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

__all__ = ["ActionScaling", "ObservationScaling", "RewardScaling"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ObservationScaling:
    """Standardised observations, (s - mean) / std.

    Attributes:
        mean: Shape (o,), float32.
        std: Shape (o,), float32, positive.

    Example:
        >>> scaling = ObservationScaling.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> scaling(torch.tensor([[3.0, 5.0]])).tolist()
        [[1.0, 0.0]]
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, observations: Tensor, minimum_std: float = 1e-3) -> ObservationScaling:
        """Mean and standard deviation over rows, shape (N, o), summed in float64.

        A feature that varies less than `minimum_std` is divided by `minimum_std`: it is centred,
        and its noise is not blown up.
        """
        exact = observations.double()
        std = exact.std(dim=0, correction=0).clamp_min(minimum_std)
        return cls(exact.mean(dim=0).float(), std.float())

    @classmethod
    def identity(cls, features: int) -> ObservationScaling:
        """The scaling that leaves observations of `features` numbers as they are."""
        return cls(torch.zeros(features), torch.ones(features))

    def __call__(self, observations: Tensor) -> Tensor:
        """Scaled observations, shape (..., o)."""
        return (observations - self.mean) / self.std

    def to(self, device: torch.device | str) -> ObservationScaling:
        """The same scaling on a device."""
        return ObservationScaling(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True, eq=False)
class ActionScaling:
    """The affine map between the environment's box [low, high] and [-1, 1].

    Attributes:
        low: Shape (a,), float32, finite.
        high: Shape (a,), float32, finite, above low.

    Raises:
        ArgumentError: Bounds that are not finite, differ in shape, or leave no interval.

    Example:
        >>> scaling = ActionScaling(torch.tensor([-2.0]), torch.tensor([2.0]))
        >>> scaling.normalize(torch.tensor([[1.0]])), scaling.denormalize(torch.tensor([0.5]))
        (tensor([[0.5000]]), tensor([1.]))
    """

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        same = self.low.ndim == 1 and self.low.shape == self.high.shape
        if not same or not bool(((self._span() > 0) & self._span().isfinite()).all()):
            raise ArgumentError(
                f"got action bounds {self.low.tolist()} to {self.high.tolist()}, expected two "
                "finite vectors of one length, low below high: give the environment's bounds"
            )

    def normalize(
        self, actions: Tensor, *, tolerance: float = 1e-3, source: str = "actions"
    ) -> Tensor:
        """Actions of a data set in [-1, 1]; rounding beyond the bounds is clipped and logged.

        Args:
            actions: Shape (N, a), in the environment's units; left as they are.
            tolerance: How far beyond a bound counts as rounding, as a part of [-1, 1].
            source: What messages call the data.

        Raises:
            DataError: An action lies further out, or the number of features is another.
        """
        if actions.shape[-1:] != self.low.shape:
            raise DataError(
                f"got {tuple(actions.shape)}, expected (rows, {len(self.low)})",
                source=source,
                key="actions",
                remedy="name the environment that the data was recorded in",
            )
        scaled = 2 * (actions - self.low) / self._span() - 1
        beyond = (scaled.abs() - 1).amax(dim=-1)
        if bool((beyond > tolerance).any()):
            row = int((beyond > tolerance).int().argmax())
            raise DataError(
                f"got {actions[row].tolist()}, expected {self.low.tolist()} to "
                f"{self.high.tolist()}",
                source=source,
                key="actions",
                row=row,
                remedy="name the environment that the data was recorded in, or rescale the actions",
            )
        clipped = int((beyond > 0).sum())
        if clipped:
            _LOGGER.info(
                "%s: clipped %d of %d actions, beyond the bounds by %.2g of [-1, 1] at most",
                source,
                clipped,
                len(scaled),
                float(beyond.max()),
            )
        return scaled.clamp(-1, 1)

    def denormalize(self, actions: Tensor) -> Tensor:
        """Actions in [-1, 1], shape (..., a), in the environment's units."""
        return self.low + (actions + 1) * self._span() / 2

    def to(self, device: torch.device | str) -> ActionScaling:
        """The same scaling on a device."""
        return ActionScaling(self.low.to(device), self.high.to(device))

    def _span(self) -> Tensor:
        return self.high - self.low


@dataclass(frozen=True)
class RewardScaling:
    """Rewards as a critic sees them, scale * r + shift.

    Example:
        >>> RewardScaling(scale=2.0, shift=-1.0)(torch.tensor([1.0, 3.0]))
        tensor([1., 5.])
    """

    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def fit(cls, name: str, data: Transitions) -> RewardScaling:
        """The reward scaling of a task (SRPO's practice, after IQL's).

        Args:
            name: `return_range`, r * 1000 / (largest - smallest return of true trajectories);
                `antmaze`, r - 1; `none`.
            data: The transitions, with rewards as recorded.

        Raises:
            ArgumentError: The name is another.
            DataError: `return_range` where all trajectories have one return.
        """
        if name == "none":
            return cls()
        if name == "antmaze":
            return cls(shift=-1.0)
        if name != "return_range":
            raise ArgumentError(
                f"got reward scaling {name!r}, expected 'return_range', 'antmaze' or 'none'"
            )
        returns = data.returns().double()
        extent = float(returns.max() - returns.min())
        # One float32 rounding of the returns is no range.
        if extent <= 1e-6 * float(returns.abs().max()):
            raise DataError(
                f"got {len(returns)} trajectories of return {float(returns[0]):g}, expected "
                "returns that differ, to divide by their range",
                source=data.source,
                key="rewards",
                remedy="use the reward scaling 'none'",
            )
        return cls(scale=1000.0 / extent)

    def __call__(self, rewards: Tensor) -> Tensor:
        """Scaled rewards, shape (...)."""
        return self.scale * rewards + self.shift
