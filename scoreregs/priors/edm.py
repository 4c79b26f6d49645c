r"""Networks in the manner of EDM, under any schedule.

EDM sees the data unscaled at a noise level $s = \sigma / \alpha$, and preconditions a network F
into a denoiser

$$ D(x, s) = c_{\mathrm{skip}}\, x + c_{\mathrm{out}}\, F(c_{\mathrm{in}}\, x, c_{\mathrm{noise}}),
   \quad c_{\mathrm{skip}} = \tfrac{d^2}{s^2 + d^2}, \quad
   c_{\mathrm{out}} = \tfrac{s d}{\sqrt{s^2 + d^2}}, \quad
   c_{\mathrm{in}} = \tfrac{1}{\sqrt{s^2 + d^2}}, \quad c_{\mathrm{noise}} = \tfrac14 \log s $$

with d the standard deviation of the data. Any schedule is a scaled EDM one, so a denoiser serves
under all of them at $D(x_t / \alpha, \sigma / \alpha)$.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, Table 1.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.predictions import Prediction, expand
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.reprs import construction
from scoreregs.schedules import NoiseLevel, NoiseSchedule
from scoreregs.trees import Condition

__all__ = ["DenoiserPrior", "EDMPrior", "Preconditioned"]

# Networks are called at noise levels between 1e-6 and 1e6, so that the ends of a schedule, where
# s is 0 or infinite and the residual's factor takes care of the limit, are finite inputs.
_LOG_SNR_RANGE = 27.63


@named_calls
class Preconditioned(Prediction):
    r"""The network returns F, which is minus v of data scaled to variance one.

    $$ F = \frac{(\sigma / d)\, x - \alpha d\, \epsilon}{\sqrt{\sigma^2 + \alpha^2 d^2}} $$

    Noise, sample and residual are finite at both ends of any schedule.

    Args:
        sigma_data: d, the standard deviation of the data, > 0.

    Raises:
        ArgumentError: for a sigma_data that is not positive and finite.

    Example:
        >>> from scoreregs import VPSchedule
        >>> level = VPSchedule().at(torch.tensor([0.0]))
        >>> Preconditioned(0.5).epsilon(torch.ones(1, 1), torch.zeros(1, 1), level, VPSchedule())
        tensor([[-1.]])
    """

    name = "preconditioned"

    def __init__(self, sigma_data: float = 0.5) -> None:
        check_numbers(sigma_data=sigma_data)
        if not 0 < sigma_data < float("inf"):
            raise ArgumentError(
                f"got sigma_data={sigma_data}, expected a positive number: the standard deviation "
                "of the data that the network was trained on; the field's value is 0.5"
            )
        self.sigma_data = float(sigma_data)

    @override
    def __repr__(self) -> str:
        return construction(self)

    def _cosine_sine(self, level: NoiseLevel, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        norm = torch.hypot(level.alpha * self.sigma_data, level.sigma)
        return (
            expand(level.alpha * self.sigma_data / norm, like),
            expand(level.sigma / norm, like),
            expand(norm, like),
        )

    def input(self, x_t: Tensor, level: NoiseLevel) -> Tensor:
        """Returns c_in x_t / alpha, what the network is called with."""
        return x_t / self._cosine_sine(level, x_t)[2]

    @override
    def difference(self, output, x, noise, level, schedule):
        cosine, sine, _ = self._cosine_sine(level, output)
        return sine * (x / self.sigma_data) - cosine * noise - output

    @override
    def log_factor(self, level, schedule):
        scale = level.alpha * self.sigma_data
        return torch.log(scale) - torch.log(torch.hypot(scale, level.sigma))

    @override
    def epsilon(self, output, x_t, level, schedule):
        cosine, sine, norm = self._cosine_sine(level, x_t)
        return sine * (x_t / norm) - cosine * output

    @override
    def sample(self, output, x_t, level, schedule):
        cosine, sine, norm = self._cosine_sine(level, x_t)
        return self.sigma_data * (cosine * (x_t / norm) + sine * output)


@named_calls
class EDMPrior(ScorePrior):
    """A prior from a raw EDM network F, before its preconditioning.

    Its residual is computed from F and is finite at both ends of every schedule.

    Args:
        network: a module or function of (c_in x, c_noise, condition) that returns F, of x's shape;
            called in the dtype of its parameters, as by `NetworkPrior`.
        schedule: any noise schedule; the network's own is `EDMSchedule()`.
        sigma_data: d, the standard deviation of the data in training.
        modules: as for `NetworkPrior`.

    Raises:
        ArgumentError: for a sigma_data that is not positive, and as for `NetworkPrior`.

    Example:
        >>> from scoreregs import EDMPrior, EDMSchedule
        >>> prior = EDMPrior(lambda x, c_noise, condition: 0 * x, EDMSchedule(), sigma_data=1.0)
        >>> prior.denoise(torch.ones(1, 1), 0.0)  # c_skip x is the answer for standard normal data
        tensor([[1.0000]])
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        schedule: NoiseSchedule,
        sigma_data: float = 0.5,
        *,
        modules: Sequence[nn.Module] | None = None,
    ) -> None:
        preconditioned = Preconditioned(sigma_data)
        super().__init__(schedule, preconditioned)
        self.sigma_data = preconditioned.sigma_data
        self._preconditioned = preconditioned
        self._network = NetworkPrior(
            network, schedule, preconditioned, time_map=self._c_noise, modules=modules
        )
        self.network = network

    def _c_noise(self, t: Tensor) -> Tensor:
        return -_bounded_log_snr(self.schedule.at(t)) / 8

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        scaled = self._preconditioned.input(x_t, self.schedule.at(t))
        return self._network.predict(scaled, t, condition)


@named_calls
class DenoiserPrior(ScorePrior):
    """A prior from a denoiser D(x, sigma), of k-diffusion, EDM or one's own, under any schedule.

    Args:
        denoiser: a module or function of (x, sigma, condition), sigma (batch,) in units of the
            unscaled data, that returns the posterior mean of the data; called in the dtype of its
            parameters, as by `NetworkPrior`.
        schedule: any noise schedule; it is called at x_t / alpha and sigma / alpha.
        modules: as for `NetworkPrior`.

    Raises:
        ArgumentError: where the denoiser is not callable or the schedule not a `NoiseSchedule`.

    Example:
        >>> from scoreregs import DenoiserPrior, VPSchedule
        >>> def standard_normal(x, sigma, condition):
        ...     return x / (1 + sigma[:, None] ** 2)
        >>> prior = DenoiserPrior(standard_normal, VPSchedule())
        >>> prior.score(torch.ones(1, 1), 0.5)
        tensor([[-1.0000]])
    """

    def __init__(
        self,
        denoiser: Callable[..., Tensor],
        schedule: NoiseSchedule,
        *,
        modules: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__(schedule, "sample")
        self._network = NetworkPrior(
            denoiser, schedule, "sample", time_map=self._noise_level, modules=modules
        )
        self.denoiser = denoiser

    def _noise_level(self, t: Tensor) -> Tensor:
        return torch.exp(-_bounded_log_snr(self.schedule.at(t)) / 2)

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        level = self.schedule.at(t)
        # 1 / alpha, written so that it is finite where alpha is zero.
        scale = torch.hypot(torch.ones_like(level.t), self._noise_level(t))
        scaled = x_t * expand(scale / torch.hypot(level.alpha, level.sigma), x_t)
        return self._network.predict(scaled, t, condition)


def _bounded_log_snr(level: NoiseLevel) -> Tensor:
    return level.log_snr.clamp(-_LOG_SNR_RANGE, _LOG_SNR_RANGE)
