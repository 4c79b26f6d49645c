"""Between pictures and the latents that a prior knows."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from scoreregs.errors import ArgumentError
from scoreregs_diffusers.pipelines import load_component

__all__ = ["LatentCodec"]


class LatentCodec:
    r"""Pictures as latents and back, with the scale that a latent prior was trained with.

    $$ z = s\, \big( \mathrm{E}[\mathrm{encoder}(x)] - m \big), \qquad
       x = \mathrm{decoder}(z / s + m) $$

    Both directions pass gradients, so a value of pixels and a prior of latents meet either way:

        objective(codec.encode(x)).loss  # x is pixels: the gradient goes through the encoder
        value = lambda z, c: reward(codec.decode(z))  # x is latents

    and where x and the value are pixels, the regulariser stands alone beside it:

        loss = distillation(codec.encode(x)).loss - reward(x).mean()  # distillation has no value

    An autoencoder with `force_upcast` in its configuration, as SDXL's, overflows in float16: it is
    computed with its weights in float32, as its pipelines do, and left as it is.

    Args:
        vae: an `AutoencoderKL`, in the mode and with the `requires_grad` that it has.

    Raises:
        ArgumentError: for another kind of autoencoder.

    Example:
        >>> from diffusers import AutoencoderKL
        >>> codec = LatentCodec(AutoencoderKL(norm_num_groups=4, block_out_channels=(8,)))
        >>> latents = codec.encode(torch.zeros(1, 3, 16, 16))
        >>> latents.shape, codec.decode(latents).shape
        (torch.Size([1, 4, 16, 16]), torch.Size([1, 3, 16, 16]))
    """

    def __init__(self, vae: nn.Module) -> None:
        if "AutoencoderKL" not in {base.__name__ for base in type(vae).__mro__}:
            raise ArgumentError(
                f"got a vae of type {type(vae).__name__}, expected an AutoencoderKL: for another, "
                "encode x yourself and call the objective with its latents"
            )
        self._vae: Any = vae
        config = self._vae.config
        self._factor = torch.tensor(float(config.scaling_factor), dtype=torch.float64)
        self._offset = torch.tensor(float(config.shift_factor or 0.0), dtype=torch.float64)
        if config.latents_mean is not None and config.latents_std is not None:
            std = torch.tensor(config.latents_std, dtype=torch.float64).reshape(-1, 1, 1)
            self._factor = self._factor / std
            self._offset = torch.tensor(config.latents_mean, dtype=torch.float64).reshape(-1, 1, 1)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
    ) -> Self:
        """Returns the codec of a pipeline's `vae`, from safetensors.

        Args:
            path: a pipeline's folder, or its name on the Hub.
            torch_dtype: of the weights; their own by default.
            variant: of the weights' files: "fp16" reads `*.fp16.safetensors`.

        Raises:
            ArgumentError: where there is no such pipeline or vae.
            MissingDependencyError: without diffusers (extra `diffusers`).
        """
        options: dict[str, Any] = {} if torch_dtype is None else {"torch_dtype": torch_dtype}
        return cls(load_component(path, "vae", use_safetensors=True, variant=variant, **options))

    def encode(self, images: Tensor) -> Tensor:
        """Returns the latents of images, in the images' dtype and with their gradient.

        Args:
            images: (batch, channels, height, width), in [-1, 1].
        """
        mean = self._run(_Encode, images).to(images.dtype)
        return (mean - self._offset.to(mean)) * self._factor.to(mean)

    def decode(self, latents: Tensor) -> Tensor:
        """Returns the images of latents, in the latents' dtype and with their gradient.

        Args:
            latents: (batch, channels, height, width), as `encode` returns them.
        """
        scaled = latents / self._factor.to(latents) + self._offset.to(latents)
        return self._run(_Decode, scaled).to(latents.dtype)

    def _run(self, half: "type[_Encode] | type[_Decode]", x: Tensor) -> Tensor:
        module = half(self._vae)
        if self._vae.dtype != torch.float16 or not self._vae.config.get("force_upcast", False):
            return module(x.to(self._vae.dtype))
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        upcast = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        return torch.func.functional_call(module, upcast, (x.float(),))


class _Encode(nn.Module):
    """Half of an autoencoder as a module, for `functional_call`."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.vae.encode(images).latent_dist.mean


class _Decode(_Encode):
    """The other half."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.vae.decode(images).sample
