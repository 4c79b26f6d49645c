"""Channels of a model beyond those that it denoises: a condition before, a variance behind."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import Self

from scoreregs.errors import ArgumentError
from scoreregs_diffusers.families import Family

__all__ = ["EXTRA", "LearnedVariance", "ModelChannels"]

LearnedVariance = Literal["refuse", "drop"]

# The key of a condition that is concatenated to x: mask and masked image, an image to edit, depth.
EXTRA = "extra_channels"


@dataclass(frozen=True)
class ModelChannels:
    """How many channels a model denoises, takes beside them, and returns.

    Attributes:
        name: of the model's class.
        axis: where channels are concatenated.
        denoised: channels of x; None where the configuration does not say.
        extra: channels that the condition adds to them.
        doubled: whether the second half of the output is a variance.
        patch_area: elements of a channel in a token of packed latents.
    """

    name: str
    axis: int
    denoised: int | None
    extra: int
    doubled: bool
    patch_area: int = 1

    @classmethod
    def read(
        cls,
        family: Family,
        name: str,
        config: Any,
        scheduler: Any,
        learned_variance: LearnedVariance,
    ) -> Self:
        """Returns what configuration and scheduler say.

        Raises:
            ArgumentError: for a learned variance that is refused, and for numbers of channels that
                no rule explains.
        """
        channels = family.channels(config, family.layout)
        area = family.layout.patch_area
        if channels is None:
            return cls(name, family.channel_axis, None, 0, False, area)
        taken, returned = channels
        learned = scheduler.config.get("variance_type") in ("learned", "learned_range")
        doubled = returned == 2 * taken or (learned and returned % 2 == 0)
        if doubled and learned_variance == "refuse":
            raise ArgumentError(
                f"got a {name} that returns a learned variance (twice as many channels out as it "
                'denoises), expected predictions alone: pass learned_variance="drop" to cut its '
                "second half, which Eq. 15 does not use"
            )
        denoised = returned // 2 if doubled else returned
        if taken < denoised:
            raise ArgumentError(
                f"got a {name} with {taken} channels in and {returned} out, expected as many out "
                "as in, twice as many (a learned variance), or fewer (a condition is concatenated):"
                " cut the output yourself and use scoreregs.NetworkPrior"
            )
        return cls(name, family.channel_axis, denoised, taken - denoised, doubled, area)

    def join(self, x: Tensor, extra: Any) -> Tensor:
        """Returns x with the condition's channels behind its own.

        Raises:
            ArgumentError: where either has another number of channels.
        """
        if self.denoised is None:
            return x
        axis, scale = self.axis, 1
        if x.ndim == 3 and self.patch_area > 1:  # packed latents: channels come last
            axis, scale = 2, self.patch_area
        got = x.shape[axis] if x.ndim > axis else None
        if got != self.denoised * scale:
            raise ArgumentError(
                f"got x of shape {tuple(x.shape)} for a {self.name}, expected "
                f"{self.denoised * scale} channels at dimension {axis}{self._hint(scale)}"
            )
        wanted = self.extra * scale
        if not isinstance(extra, Tensor):
            if not wanted:
                return x
            raise ArgumentError(
                f"got no {EXTRA} in the condition of a {self.name}, expected "
                f"{{{EXTRA!r}: tensor with {wanted} channels}}: what its pipeline concatenates to "
                "the latents, as a mask and the masked image's latents, an image to edit or depth"
            )
        shape = [*x.shape[:axis], wanted, *x.shape[axis + 1 :]]
        if not wanted or list(extra.shape) != shape:
            raise ArgumentError(
                f"got {EXTRA} of shape {tuple(extra.shape)} for a {self.name}, expected "
                f"{tuple(shape) if wanted else 'none: it takes as many channels as it denoises'}"
            )
        return torch.cat([x, extra], dim=axis)

    def _hint(self, scale: int) -> str:
        if not self.extra:
            return ""
        return f"; {self.extra * scale} more come with the condition's {EXTRA!r}"

    def cut(self, output: Tensor) -> Tensor:
        """Returns the output without its variance."""
        return output.chunk(2, dim=self.axis)[0] if self.doubled else output
