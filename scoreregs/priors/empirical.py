"""The prior of a data set, in closed form."""

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_has_values, is_computed, kind_of, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.prior import ScorePrior
from scoreregs.schedules import NoiseSchedule, as_time
from scoreregs.trees import Condition

__all__ = ["EmpiricalPrior"]

# Elements of the largest temporary tensor: 32 MiB in float64.
_BLOCK = 2**22
_SMALLEST_VARIANCE = 1e-300


@named_calls
class EmpiricalPrior(ScorePrior):
    r"""The empirical distribution of a data set, whose diffused score is exact.

    $$ \hat x(x_t) = \sum_i \mathrm{softmax}_i \Big(
       -\frac{\lVert x_t - \alpha x_i \rVert^2}{2 \sigma^2} \Big)\, x_i $$

    This is what a network of unlimited capacity learns: at small noise it pulls towards the
    nearest sample. Computed in float64 and in chunks, so that beyond the data itself a call needs
    some 100 MiB whatever the size of the data; the time is that of two passes over it.

    Args:
        data: the samples, (count, *event), floating point; kept, not copied: leave it unchanged.
        schedule: the noise schedule.

    Raises:
        ArgumentError: for data that is not a non-empty, finite, floating point (count, *event).

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        Appendix B.3 (the ideal denoiser).

    Example:
        >>> from scoreregs import VPSchedule
        >>> prior = EmpiricalPrior(torch.tensor([[-1.0], [1.0]]), VPSchedule())
        >>> prior.denoise(torch.tensor([[0.0], [0.9]]), 0.05)
        tensor([[0.],
                [1.]])
    """

    def __init__(self, data: Tensor, schedule: NoiseSchedule) -> None:
        super().__init__(schedule, "sample")
        if not is_computed(data):
            raise ArgumentError(
                f"got data of type {kind_of(data)}, expected a floating point tensor: use "
                "torch.as_tensor(data, dtype=torch.float32)"
            )
        if data.ndim < 2 or not data.numel():
            raise ArgumentError(
                f"got data of shape {tuple(data.shape)}, expected a non-empty (count, *event): a "
                "1-D event has shape (count, 1)"
            )
        check_has_values("data", data)
        self._event = data.shape[1:]
        self._data = data.detach().flatten(1)
        self._mean = torch.zeros_like(as_time(self._data[0]))
        self._mean = sum((part.sum(0) for part in self._parts(1)), self._mean) / len(data)
        self._energies = torch.cat([part.square().sum(1) / 2 for part in self._parts(1)])
        if not bool(self._energies.isfinite().all()):
            raise ArgumentError("got NaN or infinity in the data, expected finite numbers")

    @override
    def __repr__(self) -> str:
        count, event = len(self._data), tuple(self._event)
        return f"EmpiricalPrior({count} samples of shape {event}, schedule={self.schedule!r})"

    def _parts(self, batch: int) -> Iterator[Tensor]:
        """Yields the data in float64, centred, in parts that fit with a batch into a block."""
        for part in self._data.split(max(1, _BLOCK // max(batch, self._data.shape[1]))):
            yield as_time(part) - self._mean

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        if x_t.shape[1:] != self._event or x_t.device != self._data.device:
            raise ArgumentError(
                f"got x of shape {tuple(x_t.shape)} on {x_t.device}, expected (batch, "
                f"{', '.join(map(str, self._event))}) on {self._data.device}, as the data"
            )
        level = self.schedule.at(t)
        alpha = level.alpha[:, None]
        variance = level.sigma.square().clamp(min=_SMALLEST_VARIANCE)[:, None]
        query = alpha * (as_time(x_t.flatten(1)) - alpha * self._mean)
        # A softmax in one pass: sums are kept relative to the largest exponent seen so far.
        largest = torch.full_like(alpha, -torch.inf)
        mass, weighted = torch.zeros_like(alpha), torch.zeros_like(query)
        done = 0
        for part in self._parts(len(x_t)):
            energies = self._energies[done : done + len(part)]
            exponent = torch.addmm(-alpha.square() * energies, query, part.T)
            new = torch.maximum(largest, exponent.amax(1, keepdim=True))
            weights = exponent.sub_(new).div_(variance).exp_()
            decay = torch.exp((largest - new) / variance)
            mass = mass * decay + weights.sum(1, keepdim=True)
            weighted = weighted * decay + weights @ part
            largest, done = new, done + len(part)
        return (weighted / mass + self._mean).reshape(x_t.shape).to(x_t.dtype)
