"""How latents lie when a model of diffusers is called: as they are, or as rows of tokens."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from einops import rearrange
from torch import Tensor
from typing_extensions import override

from scoreregs.errors import ArgumentError

__all__ = ["AsItIs", "Layout", "Packed"]


class Layout(ABC):
    """How a model takes x."""

    # How often a channel of x appears among the model's `in_channels`.
    patch_area: int = 1

    @abstractmethod
    def pack(self, x: Tensor) -> Tensor:
        """Returns x as the model takes it.

        Raises:
            ArgumentError: for an x of another number of dimensions, or that has no whole patches.
        """

    @abstractmethod
    def unpack(self, output: Tensor, like: Tensor) -> Tensor:
        """Returns the model's output, shaped as x."""


@dataclass(frozen=True)
class AsItIs(Layout):
    """x goes to the model unchanged.

    Args:
        dimensions: of x with its batch, or None where any will do.
    """

    dimensions: int | None = None

    @override
    def pack(self, x: Tensor) -> Tensor:
        if self.dimensions is not None and x.ndim != self.dimensions:
            raise ArgumentError(
                f"got x of shape {tuple(x.shape)}, expected {self.dimensions} dimensions, batch "
                "first: latents as the family's pipeline has them"
            )
        return x

    @override
    def unpack(self, output: Tensor, like: Tensor) -> Tensor:
        return output


@dataclass(frozen=True)
class Packed(Layout):
    """Patches of x are the tokens of a sequence; an x that is packed already stays as it is.

    Args:
        size: of a patch, along height and width alike.
        dimensions: of an x that is not packed: 4 for pictures, 5 for videos.
    """

    size: int = 2
    dimensions: int = 4

    @property
    def patch_area(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many elements of a channel are in one token."""
        return self.size**2

    @override
    def pack(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return x
        if x.ndim != self.dimensions or x.shape[-1] % self.size or x.shape[-2] % self.size:
            raise ArgumentError(
                f"got x of shape {tuple(x.shape)}, expected (batch, channels, "
                f"{'' if self.dimensions == 4 else 'frames, '}height, width) with height and width "
                f"a multiple of {self.size}, or packed latents (batch, tokens, channels)"
            )
        if self.dimensions == 5:
            pattern = "b c f (h p) (w q) -> b (f h w) (c p q)"
        else:
            pattern = "b c (h p) (w q) -> b (h w) (c p q)"
        return rearrange(x, pattern, p=self.size, q=self.size)

    @override
    def unpack(self, output: Tensor, like: Tensor) -> Tensor:
        if like.ndim == 3:
            return output
        sizes = {
            "h": like.shape[-2] // self.size,
            "w": like.shape[-1] // self.size,
            "p": self.size,
            "q": self.size,
        }
        if self.dimensions == 5:
            pattern = "b (f h w) (c p q) -> b c f (h p) (w q)"
        else:
            pattern = "b (h w) (c p q) -> b c (h p) (w q)"
        return rearrange(output, pattern, **sizes)
