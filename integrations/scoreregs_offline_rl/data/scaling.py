"""Scalings of observations, actions and rewards, fitted once and stored with the policy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scoreregs.devices import present_device
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

__all__ = ["ActionScaling", "ObservationScaling", "RewardScaling", "narrow_returns"]

logger = logging.getLogger(__name__)

# Returns that differ by less than this part of the largest are as good as the same.
_FEW_PARTS = 20
# A success that most rows have is a price for every step.
_SELDOM = 0.5
MISTAKES = 1 / 1000
"""Of the rows of a data set, so many may lie beyond its bounds by mistake; they are clipped."""


@dataclass(frozen=True, eq=False)
class ObservationScaling:
    """Standardised observations, (s - mean) / std.

    Attributes:
        mean: shape (o,), float32; float64 where the observations it was fitted to are.
        std: shape (o,), float32, positive.

    Example:
        >>> scaling = ObservationScaling.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> scaling(torch.tensor([[3.0, 6.0]])).tolist()
        [[1.0, 1.0]]
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, observations: Tensor, minimum_std: float | None = None) -> ObservationScaling:
        """Returns mean and standard deviation over rows, summed in float64.

        A feature that does not vary beyond the rounding of its own numbers is centred and divided
        by 1: where it changes by one at run time, so does what a network sees.

        Args:
            observations: shape (N, o).
            minimum_std: divide by no less than this, as version 0.1 did by 1e-3; None: by the
                standard deviation, whatever the unit.
        """
        exact = observations.double()
        std = exact.std(dim=0, correction=0)
        if minimum_std is not None:
            std = std.clamp_min(minimum_std)
        else:
            rounding = 8 * torch.finfo(observations.dtype).eps * exact.abs().amax(dim=0)
            # Below float32's smallest number there is nothing to divide by.
            constant = std <= rounding.clamp_min(torch.finfo(torch.float32).tiny)
            std = std.masked_fill(constant, 1.0)
        mean = exact.mean(dim=0)
        return cls(mean if observations.dtype == torch.float64 else mean.float(), std.float())

    @classmethod
    def identity(cls, features: int) -> ObservationScaling:
        """Returns the scaling that leaves observations as they are.

        Args:
            features: numbers of an observation.
        """
        return cls(torch.zeros(features), torch.ones(features))

    def __call__(self, observations: Tensor) -> Tensor:
        """Returns scaled observations, centred before they are cast to the dtype of `std`.

        Args:
            observations: shape (..., o).
        """
        return ((observations - self.mean) / self.std).to(self.std.dtype)

    def to(self, device: torch.device | str) -> ObservationScaling:
        """Returns the same scaling on a device.

        Args:
            device: as PyTorch names it.

        Raises:
            ArgumentError: for a device that is not there.
        """
        device = present_device(device)
        return ObservationScaling(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True, eq=False)
class ActionScaling:
    """The affine map between the environment's box [low, high] and [-1, 1].

    Attributes:
        low: shape (a,), float32, finite.
        high: shape (a,), float32, finite, above low.

    Raises:
        ArgumentError: for bounds that are not finite, differ in shape, or leave no interval.

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
        self,
        actions: Tensor,
        *,
        tolerance: float = 1e-3,
        source: str = "actions",
        recorded_row: Callable[[int], int] = int,
    ) -> Tensor:
        """Returns the actions of a data set in [-1, 1]; what lies beyond is clipped and logged.

        That is rounding, and up to one in a thousand rows further out, which nobody can have
        commanded.

        Args:
            actions: shape (N, a), in the environment's units; left as they are.
            tolerance: how far beyond a bound counts as rounding, as a part of [-1, 1].
            source: what messages call the data.
            recorded_row: what messages call a row, see `Transitions.recorded_row`.

        Raises:
            DataError: where more actions lie further out, or the number of features is another.
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
        far = int((beyond > tolerance).sum())
        if far:
            row = int((beyond > tolerance).int().argmax())
            recorded = recorded_row(row)
            if far > MISTAKES * len(actions):
                raise DataError(
                    f"got {actions[row].tolist()}, expected {self.low.tolist()} to "
                    f"{self.high.tolist()}",
                    source=source,
                    key="actions",
                    row=recorded,
                    remedy="name the environment that the data was recorded in, give "
                    "--action-low and --action-high, or leave the rows out "
                    f"({far} of them)",
                )
            logger.warning(
                "%s: %d of %d actions, first %s in row %d, lie far beyond the bounds; they are "
                "clipped",
                source,
                far,
                len(actions),
                actions[row].tolist(),
                recorded,
            )
        clipped = int((beyond > 0).sum())
        if clipped:
            logger.info(
                "%s: clipped %d of %d actions, beyond the bounds by %.2g of [-1, 1] at most",
                source,
                clipped,
                len(scaled),
                float(beyond.max()),
            )
        return scaled.clamp(-1, 1)

    def denormalize(self, actions: Tensor) -> Tensor:
        """Returns actions in the environment's units.

        Args:
            actions: shape (..., a), in [-1, 1].
        """
        return self.low + (actions + 1) * self._span() / 2

    def to(self, device: torch.device | str) -> ActionScaling:
        """Returns the same scaling on a device.

        Args:
            device: as PyTorch names it.

        Raises:
            ArgumentError: for a device that is not there.
        """
        device = present_device(device)
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
        """Returns the reward scaling of a task (SRPO's practice, after IQL's).

        Args:
            name: `return_range`, r * 1000 / (largest - smallest return of true trajectories);
                `antmaze`, r - 1, unless rewards are -1 and 0 already; `none`.
            data: the transitions, with rewards as recorded.

        Raises:
            ArgumentError: for another name.
            DataError: for `return_range` where all trajectories have one return.
        """
        if name == "none":
            return cls()
        if name == "antmaze":
            return cls(shift=0.0 if _is_shifted(data.rewards, data.source) else -1.0)
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
                remedy="use the reward scaling 'none' (--rewards none)",
            )
        if warning := narrow_returns(returns):
            logger.warning("%s: %s", data.source, warning)
        return cls(scale=1000.0 / extent)

    @staticmethod
    def usual(data: Transitions) -> Literal["return_range", "none"]:
        """Returns the name of the scaling that suits data: rewards for success keep their meaning.

        Those are 0 and 1, most of them 0. Their returns may differ by 1 alone, and 1000 times such
        rewards are a value that no temperature fits.

        Args:
            data: the transitions, with rewards as recorded.
        """
        rewards = data.rewards
        marks = bool(((rewards == 0) | (rewards == 1)).all())
        if marks and 0 < float(rewards.double().mean()) < _SELDOM:
            logger.info(
                "%s: rewards are 0 and 1, as for success, and taken as they are (--rewards none); "
                "--rewards return_range scales them all the same",
                data.source,
            )
            return "none"
        return "return_range"

    def __call__(self, rewards: Tensor) -> Tensor:
        """Returns scaled rewards.

        Args:
            rewards: shape (...).
        """
        return self.scale * rewards + self.shift


def narrow_returns(returns: Tensor) -> str | None:
    """Returns what is wrong with scaling rewards by the range of returns; None if nothing is.

    Args:
        returns: of trajectories, shape (E,).

    Example:
        >>> print(narrow_returns(torch.tensor([499.5, 500.0, 500.5]))[:61])
        returns differ by 1, 1/500 of the largest: scaled by their ra
    """
    exact = returns.double()
    extent, largest = float(exact.max() - exact.min()), float(exact.abs().max())
    if extent <= 1e-6 * largest or largest <= _FEW_PARTS * extent:
        return None
    return (
        f"returns differ by {extent:.3g}, 1/{largest / extent:.0f} of the largest: scaled by their "
        f"range rewards would make |Q| up to {1000 * largest / extent:.3g}, which no critic learns "
        "well; take them as they are (--rewards none), or less what all trajectories have"
    )


def _is_shifted(rewards: Tensor, source: str) -> bool:
    """Whether rewards are -1 and 0 already."""
    shifted = bool(((rewards == 0) | (rewards == -1)).all() & (rewards == -1).any())
    if shifted:
        logger.info("%s: rewards are -1 and 0 already, so nothing is taken off them", source)
    return shifted
