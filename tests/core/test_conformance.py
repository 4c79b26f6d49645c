"""Every schedule with every prediction in every precision, against a mixture in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    CosineSchedule,
    DenoiserPrior,
    EDMPrior,
    EDMSchedule,
    GaussianMixturePrior,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    ScorePrior,
    ScoreRegularizedObjective,
    SubVPSchedule,
    TabulatedSchedule,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError, SingularTimeError
from scoreregs.weightings import AlphaOverSigma, Sigma2, Uniform, Weighting

F64 = torch.float64
SIGMA_DATA = 0.5
WEIGHTS = torch.tensor([0.3, 0.7], dtype=F64)
MEANS = torch.tensor([-0.8, 0.4], dtype=F64)
VARIANCES = torch.tensor([0.05, 0.3], dtype=F64)


def posterior(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The mixture's exact (x_hat, epsilon_hat), finite wherever alpha and sigma are."""
    variance = alpha**2 * VARIANCES + sigma**2
    offset = x_t - alpha * MEANS
    log_density = WEIGHTS.log() - (offset**2 / variance + variance.log()) / 2
    responsibility = torch.softmax(log_density, dim=-1)
    x_hat = responsibility * (MEANS + alpha * VARIANCES * offset / variance)
    epsilon_hat = responsibility * sigma * offset / variance
    return x_hat.sum(-1, keepdim=True), epsilon_hat.sum(-1, keepdim=True)


Output = Callable[[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor]], Tensor]


@dataclass(frozen=True)
class Kind:
    """What a network returns, from (x_hat, epsilon_hat, alpha, sigma, velocity); and its prior."""

    output: Output
    make: Callable[[nn.Module, NoiseSchedule], ScorePrior]


def precondition(x_hat, epsilon_hat, alpha, sigma, velocity):
    """F = (D - c_skip x) / c_out, with the common factor s cancelled by hand."""
    d = SIGMA_DATA
    return (sigma / d * x_hat - alpha * d * epsilon_hat) / (sigma**2 + (alpha * d) ** 2).sqrt()


def mixture_score(schedule: NoiseSchedule) -> ScorePrior:
    return GaussianMixturePrior(WEIGHTS, MEANS[:, None], VARIANCES[:, None, None], schedule)


KINDS = {
    "epsilon": Kind(lambda x, e, a, s, v: e, lambda n, s: NetworkPrior(n, s, "epsilon")),
    "sample": Kind(lambda x, e, a, s, v: x, lambda n, s: NetworkPrior(n, s, "sample")),
    "v_prediction": Kind(
        lambda x, e, a, s, v: (a * e - s * x) / (a**2 + s**2).sqrt(),
        lambda n, s: NetworkPrior(n, s, "v_prediction"),
    ),
    "score": Kind(lambda x, e, a, s, v: -e / s, lambda n, s: NetworkPrior(n, s, "score")),
    "flow_prediction": Kind(
        lambda x, e, a, s, v: v[0] * x + v[1] * e,
        lambda n, s: NetworkPrior(n, s, "flow_prediction"),
    ),
    "preconditioned": Kind(precondition, lambda n, s: EDMPrior(n, s, SIGMA_DATA)),
    "denoiser": Kind(lambda x, e, a, s, v: x, DenoiserPrior),
}


def ddpm_table() -> Tensor:
    return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=F64), 0)


SCHEDULES: dict[str, NoiseSchedule] = {
    "vp": VPSchedule(),
    "sub_vp": SubVPSchedule(),
    "cosine": CosineSchedule(),
    "ve": VESchedule(),
    "edm": EDMSchedule(),
    "flow": RectifiedFlowSchedule(),
    "flow_shift": RectifiedFlowSchedule(shift=3.0),
    "nearest": TabulatedSchedule.from_alphas_cumprod(ddpm_table()),
    "log_snr": TabulatedSchedule.from_alphas_cumprod(ddpm_table(), interpolation="log_snr"),
    "zero_terminal": TabulatedSchedule.from_alphas_cumprod(
        torch.cat([ddpm_table()[:-1], torch.zeros(1, dtype=F64)])
    ),
}
# sigma = 0 at t = 0, where a prediction of the data says nothing about the noise.
NOISELESS = {"vp", "sub_vp", "cosine", "flow", "flow_shift"}
# sigma' is infinite there, so no flow network can be right.
STEEP = {"vp", "cosine"}


class Exact(nn.Module):
    """A network that returns its kind's exact output at its input, rounded to its dtype."""

    def __init__(self, kind: str, schedule: NoiseSchedule, t: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros((), dtype=dtype))
        self.kind = kind
        level = schedule.at(torch.tensor([t], dtype=F64))
        self.alpha, self.sigma = level.alpha[:, None], level.sigma[:, None]
        self.velocity = (self.alpha, self.alpha)
        if kind == "flow_prediction":
            a, b = schedule.derivative(level.t)
            self.velocity = (a[:, None], b[:, None])
            if isinstance(schedule, RectifiedFlowSchedule):  # whatever the shift
                self.velocity = (-torch.ones_like(self.alpha), torch.ones_like(self.alpha))
        # What the adapters of EDM multiply x_t with before the network sees it.
        self.scale = torch.ones_like(self.alpha)
        if kind == "preconditioned":
            self.scale = ((self.alpha * SIGMA_DATA) ** 2 + self.sigma**2).rsqrt()
        if kind == "denoiser":
            self.scale = 1 / self.alpha.clamp(min=1e-6)

    def exact(self, network_input: Tensor) -> Tensor:
        x_t = network_input.to(F64) / self.scale
        if self.kind == "score":  # -epsilon_hat / sigma, without the division
            variance = self.alpha**2 * VARIANCES + self.sigma**2
            offset = x_t - self.alpha * MEANS
            log_density = WEIGHTS.log() - (offset**2 / variance + variance.log()) / 2
            return -(torch.softmax(log_density, -1) * offset / variance).sum(-1, keepdim=True)
        predicted = posterior(x_t, self.alpha, self.sigma)
        return KINDS[self.kind].output(*predicted, self.alpha, self.sigma, self.velocity)

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        assert x_t.dtype == self.parameter.dtype
        return self.exact(x_t).to(self.parameter.dtype)

    def rounding(self, x_t: Tensor) -> Tensor:
        """A bound of what rounding input and output to the network's dtype does to the output."""
        network_input = (x_t * self.scale).requires_grad_()
        with torch.enable_grad():
            output = self.exact(network_input)
            (slope,) = torch.autograd.grad(output.sum(), network_input)
        change = output.detach().abs() + (slope * network_input).abs().detach()
        return torch.finfo(self.parameter.dtype).eps * change


def draw(count: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 1, generator=generator, dtype=F64) * 0.6
    return x, torch.randn(count, 1, generator=generator, dtype=F64)


def residual(prior: ScorePrior, weighting: Weighting, x: Tensor, t: float, noise: Tensor) -> Tensor:
    objective = ScoreRegularizedObjective.from_value(
        None, prior, weighting=weighting, times=(0.3, 0.7)
    )
    return objective(x, t=torch.full((len(x),), t, dtype=F64), noise=noise).gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_residual_is_the_closed_form(name, kind, dtype):
    schedule = SCHEDULES[name]
    if kind == "flow_prediction" and name in ("nearest", "zero_terminal"):
        with pytest.raises(ArgumentError, match="log_snr"):
            ScoreRegularizedObjective.from_value(
                None, KINDS[kind].make(Exact("epsilon", schedule, 0.5, dtype), schedule)
            )
        return
    x, noise = draw()
    x = x.to(torch.float64 if dtype == torch.float64 else torch.float32)
    noise = noise.to(x.dtype)
    for t in (0.0, 1e-4, 0.02, 0.3, 0.7, 0.98, 1 - 1e-4, 1.0):
        network = Exact(kind, schedule, t, dtype)
        prior = KINDS[kind].make(network, schedule)
        alpha, sigma = network.alpha, network.sigma
        x_t = alpha * x + sigma * noise
        _, epsilon_hat = posterior(x_t, alpha, sigma)
        singular = t == 0 and (
            (kind == "flow_prediction" and name in STEEP)
            or (kind in ("sample", "denoiser") and name in NOISELESS)
        )
        share = sigma**2 / (alpha**2 + sigma**2)
        for weighting, weight in ((Sigma2(), share), (Uniform(), torch.ones_like(share))):
            if singular and (isinstance(weighting, Uniform) or kind == "flow_prediction"):
                with pytest.raises(SingularTimeError, match="not finite"):
                    residual(prior, weighting, x, t, noise)
                continue
            got = residual(prior, weighting, x, t, noise)
            expected = weight * (epsilon_hat - noise)
            allowed = tolerance(prior, network, weight, x, x_t, noise, t)
            assert got.dtype == x.dtype
            assert bool(((got - expected).abs() <= allowed).all()), (
                f"{type(weighting).__name__} at t = {t}: {(got - expected).abs().max():.3g} off, "
                f"{allowed.min():.3g} allowed"
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_derived_predictions_are_the_closed_form(name, kind):
    schedule = SCHEDULES[name]
    if kind == "flow_prediction" and name in ("nearest", "zero_terminal"):
        return
    x, noise = draw()
    for t in (0.02, 0.3, 0.7, 0.98):
        network = Exact(kind, schedule, t, torch.float64)
        prior = KINDS[kind].make(network, schedule)
        x_t = network.alpha * x + network.sigma * noise
        x_hat, epsilon_hat = posterior(x_t, network.alpha, network.sigma)
        close = partial(torch.testing.assert_close, rtol=1e-8, atol=1e-8)
        close(prior.denoise(x_t, t), x_hat)
        close(prior.epsilon(x_t, t), epsilon_hat)
        close(prior.score(x_t, t) * network.sigma, -epsilon_hat)


def tolerance(prior, network, weight, x, x_t, noise, t) -> Tensor:
    """Rounding of the prediction and of the difference, times the factor that multiplies both."""
    level = prior.schedule.at(torch.tensor([t], dtype=F64))
    log_factor = prior.prediction.log_factor(level, prior.schedule)
    factor = torch.exp(log_factor[:, None] + torch.log(weight))
    scale = level.sigma[:, None] if network.kind == "score" else 1.0
    rounding = network.rounding(x_t.to(F64)) * scale
    size = network.exact(x_t.to(F64) * network.scale).abs() * scale + x.abs() + noise.abs()
    if network.kind == "flow_prediction":
        size = size + network.velocity[0].abs() * x.abs() + network.velocity[1].abs() * noise.abs()
    return factor * (2 * rounding + 8 * torch.finfo(x.dtype).eps * size) + 1e-14


@pytest.mark.parametrize(
    "weighting", [Sigma2(), Uniform(), AlphaOverSigma()], ids=lambda w: type(w).__name__
)
@pytest.mark.parametrize("log_snr", [5.0, 0.3, -4.0])
def test_one_mixture_has_one_gradient_at_one_log_snr(weighting, log_snr):
    x, noise = draw()
    ratio = torch.tensor([log_snr], dtype=F64)
    exact_alpha, exact_sigma = torch.sigmoid(ratio).sqrt(), torch.sigmoid(-ratio).sqrt()
    _, epsilon_hat = posterior(exact_alpha * x + exact_sigma * noise, exact_alpha, exact_sigma)
    weight = {
        Sigma2: exact_sigma**2,
        Uniform: torch.ones(1, dtype=F64),
        AlphaOverSigma: exact_alpha / exact_sigma,
    }[type(weighting)]
    for name, schedule in SCHEDULES.items():
        if isinstance(schedule, TabulatedSchedule) and schedule.interpolation == "nearest":
            continue
        t = schedule.t_from_log_snr(ratio).item()
        priors = {"mixture": mixture_score(schedule)}
        for kind in KINDS:
            network = Exact(kind, schedule, t, torch.float64)
            priors[kind] = KINDS[kind].make(network, schedule)
        for kind, prior in priors.items():
            got = residual(prior, weighting, x, t, noise)
            torch.testing.assert_close(
                got,
                weight * (epsilon_hat - noise),
                rtol=1e-9,
                atol=1e-9,
                msg=lambda text, name=name, kind=kind: f"{name}, {kind}: {text}",
            )


class TestEDM:
    def test_network_is_called_with_c_in_and_c_noise(self):
        seen = []

        def network(x, c_noise, condition):
            seen.append((x, c_noise))
            return x

        for schedule in (EDMSchedule(), VPSchedule(), RectifiedFlowSchedule()):
            prior = EDMPrior(network, schedule, sigma_data=0.5)
            level = schedule.at(torch.tensor([0.4], dtype=F64))
            s = level.sigma / level.alpha
            x_t = torch.full((1, 1), 0.7, dtype=F64)
            denoised = prior.denoise(x_t, 0.4)
            x, c_noise = seen[-1]
            unscaled = x_t / level.alpha
            torch.testing.assert_close(x, unscaled / (s**2 + 0.25).sqrt())
            torch.testing.assert_close(c_noise, s.log() / 4)
            skip, out = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt()
            torch.testing.assert_close(denoised, skip * unscaled + out * x)

    def test_denoiser_is_called_with_unscaled_data(self):
        seen = []

        def denoiser(x, sigma, condition):
            seen.append((x, sigma))
            return 0 * x

        level = VPSchedule().at(torch.tensor([0.4], dtype=F64))
        DenoiserPrior(denoiser, VPSchedule()).denoise(torch.full((1, 1), 0.7, dtype=F64), 0.4)
        torch.testing.assert_close(seen[0][0], 0.7 / level.alpha[:, None])
        torch.testing.assert_close(seen[0][1], level.sigma / level.alpha)

    @pytest.mark.parametrize("sigma_data", [0.0, -1.0, float("nan"), float("inf")])
    def test_sigma_data_is_positive(self, sigma_data):
        with pytest.raises(ArgumentError, match="sigma_data"):
            EDMPrior(lambda x, t, condition: x, EDMSchedule(), sigma_data)
