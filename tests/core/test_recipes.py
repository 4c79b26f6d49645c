"""Each recipe is its published formula, written out by hand for a Gaussian of given t and noise."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from scoreregs import (
    EDMSchedule,
    GaussianMixturePrior,
    GuidedPrior,
    NetworkPrior,
    ScoreRegularizedObjective,
    VESchedule,
    VPSchedule,
    recipes,
)
from scoreregs.baselines import PriorBaseline
from scoreregs.errors import ArgumentError
from scoreregs.times import DescendingTimes
from tests.core.gaussians import S2, conditional_gaussian, denoised, epsilon, scales

DRAWS, BATCH, D = 2, 5, 3
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


X, C, REFERENCE, C_REFERENCE = (normal(BATCH, D) for _ in range(4))
NOISE = normal(DRAWS, BATCH, D)
T = torch.linspace(0.05, 0.95, DRAWS * BATCH, dtype=torch.float64).reshape(DRAWS, BATCH)
NULL, NEGATIVE = normal(1, D), normal(1, D)
FAKE = normal(1, D)
GUIDANCE, NFSD_SCALE, BETA = 7.0, 7.5, 0.2


def value(x: Tensor, condition: Tensor) -> Tensor:
    return torch.sin(x).sum(-1)


def fake_prior(schedule=None) -> GaussianMixturePrior:
    """N(FAKE, I), whatever the condition is."""
    return GaussianMixturePrior([1.0], FAKE, torch.eye(D)[None], schedule or VPSchedule())


def fake_epsilon(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return sigma * (x_t - alpha * FAKE) / (alpha**2 + sigma**2)


@dataclass(frozen=True)
class Hand:
    """What the formulas are made of, for one draw."""

    t: Tensor
    noise: Tensor

    @property
    def alpha(self) -> Tensor:
        return scales(self.t)[0]

    @property
    def sigma(self) -> Tensor:
        return scales(self.t)[1]

    def x_t(self, x: Tensor = X) -> Tensor:
        return self.alpha * x + self.sigma * self.noise

    def epsilon(self, c: Tensor, x: Tensor = X) -> Tensor:
        return epsilon(self.x_t(x), c, self.alpha, self.sigma)

    def guided(self, c: Tensor) -> Tensor:
        return self.epsilon(NULL) + GUIDANCE * (self.epsilon(c) - self.epsilon(NULL))

    def fake(self) -> Tensor:
        return fake_epsilon(self.x_t(), self.alpha, self.sigma)


def hand_srpo(h: Hand) -> Tensor:
    return h.sigma**2 * (h.epsilon(C) - h.noise) / BETA - torch.cos(X)


def hand_sds(h: Hand) -> Tensor:
    return h.sigma**2 * (h.guided(C) - h.noise)


def hand_sjc(h: Hand) -> Tensor:
    return h.epsilon(C) - h.noise


def hand_sjc_without_noise(h: Hand) -> Tensor:
    return h.epsilon(C)


def hand_csd(h: Hand) -> Tensor:
    return h.sigma**2 * (h.epsilon(C) - h.epsilon(NULL))


def hand_nfsd(h: Hand) -> Tensor:
    domain = torch.where(h.t[:, None] < 0.2, h.epsilon(NULL), h.epsilon(NULL) - h.epsilon(NEGATIVE))
    return h.sigma**2 * (domain + NFSD_SCALE * (h.epsilon(C) - h.epsilon(NULL)))


def hand_dds(h: Hand) -> Tensor:
    return h.epsilon(C) - h.epsilon(C_REFERENCE, REFERENCE)


def hand_vsd(h: Hand) -> Tensor:
    return h.sigma**2 * (h.guided(C) - h.fake())


def hand_red_diff(h: Hand) -> Tensor:
    return h.sigma / h.alpha * (h.epsilon(C) - h.noise) / BETA - torch.cos(X)


def hand_diff_instruct(h: Hand) -> Tensor:
    real = denoised(h.x_t(), C, h.alpha, h.sigma)
    fake = (h.x_t() - h.sigma * h.fake()) / h.alpha
    return (fake - real) / (X - real).abs().mean(1, keepdim=True)


def hand_dtql(h: Hand) -> Tensor:
    """2 (D - x)^T (dD/dx - 1) / c_out^2 of EDM, with the derivative of N(c, S2)'s denoiser."""
    s = h.sigma / h.alpha
    c_out = 0.5 * s / torch.sqrt(s**2 + 0.25)
    gain = S2 / (S2 + s**2)
    misfit = denoised(h.x_t(), C, h.alpha, h.sigma) - X
    return 2 * misfit * (gain - 1) / c_out**2 / BETA - torch.cos(X)


def hand_rfds(h: Hand) -> Tensor:
    """u_hat - u of rectified flow at this log-SNR, where sigma / alpha is t / (1 - t)."""
    return (h.epsilon(C) - h.noise) * (h.alpha + h.sigma) / h.alpha


def identity_parts(h: Hand) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Delta and x_hat_phi - x, and their derivatives in x, which are numbers for Gaussians."""
    real = denoised(h.x_t(), C, h.alpha, h.sigma)
    fake = (h.x_t() - h.sigma * h.fake()) / h.alpha
    gain = h.alpha**2 * S2 / (h.alpha**2 * S2 + h.sigma**2)
    fake_gain = h.alpha**2 / (h.alpha**2 + h.sigma**2)
    return real - fake, fake - X, gain - fake_gain, fake_gain - 1


def hand_sid(h: Hand) -> Tensor:
    delta, misfit, d_delta, d_misfit = identity_parts(h)
    bracket = 2 * (1 - 1.2) * d_delta * delta + d_delta * misfit + d_misfit * delta
    return bracket / (delta + misfit).abs().mean(1, keepdim=True)


def hand_di_star(h: Hand) -> Tensor:
    delta, misfit, d_delta, d_misfit = identity_parts(h)
    root = torch.sqrt(delta.square().sum(1, keepdim=True) + 0.01**2)
    product = (delta * misfit).sum(1, keepdim=True)
    bracket = (d_delta * misfit + d_misfit * delta) / root - product * d_delta * delta / root**3
    return h.alpha / h.sigma * bracket / BETA - torch.cos(X)


def hand_vsd_with_value(h: Hand) -> Tensor:
    return h.sigma**2 * (h.epsilon(C) - h.fake()) / BETA - torch.cos(X)


def hand_diff_instruct_with_value(h: Hand) -> Tensor:
    return hand_diff_instruct(h) / BETA - torch.cos(X)


def guided() -> GuidedPrior:
    return GuidedPrior(conditional_gaussian(), GUIDANCE, NULL)


RECIPES: dict[str, tuple[Callable[[], ScoreRegularizedObjective], Callable[[Hand], Tensor]]] = {
    "srpo": (lambda: recipes.srpo(value, conditional_gaussian(), beta=BETA), hand_srpo),
    "sds": (lambda: recipes.sds(guided()), hand_sds),
    "sjc": (lambda: recipes.sjc(conditional_gaussian()), hand_sjc),
    "sjc without noise": (
        lambda: recipes.sjc(conditional_gaussian(), baseline="none"),
        hand_sjc_without_noise,
    ),
    "csd": (lambda: recipes.csd(conditional_gaussian(), NULL), hand_csd),
    "nfsd": (lambda: recipes.nfsd(conditional_gaussian(), NULL, NEGATIVE), hand_nfsd),
    "dds": (lambda: recipes.dds(conditional_gaussian(), REFERENCE, C_REFERENCE), hand_dds),
    "vsd": (lambda: recipes.vsd(guided(), fake_prior())[0], hand_vsd),
    "red_diff": (
        lambda: recipes.red_diff(value, conditional_gaussian(), steps=5, beta=BETA),
        hand_red_diff,
    ),
    "vsd with a value": (
        lambda: recipes.vsd(conditional_gaussian(), fake_prior(), value=value, beta=BETA)[0],
        hand_vsd_with_value,
    ),
    "diff_instruct with a value": (
        lambda: recipes.diff_instruct(conditional_gaussian(), fake_prior(), value=value, beta=BETA)[
            0
        ],
        hand_diff_instruct_with_value,
    ),
    "rfds": (lambda: recipes.rfds(conditional_gaussian()), hand_rfds),
    "sid": (lambda: recipes.sid(conditional_gaussian(), fake_prior())[0], hand_sid),
    "di_star": (
        lambda: recipes.di_star(value, conditional_gaussian(), fake_prior(), beta=BETA)[0],
        hand_di_star,
    ),
    "dtql": (lambda: recipes.dtql(value, conditional_gaussian(), beta=BETA), hand_dtql),
    "diff_instruct": (
        lambda: recipes.diff_instruct(conditional_gaussian(), fake_prior())[0],
        hand_diff_instruct,
    ),
}


@pytest.mark.parametrize(("build", "by_hand"), RECIPES.values(), ids=list(RECIPES))
def test_recipe_is_its_formula(build, by_hand):
    actual = build()(X, C, t=T, noise=NOISE).gradient
    each = [by_hand(Hand(t, noise)) for t, noise in zip(T, NOISE, strict=True)]
    torch.testing.assert_close(actual, torch.stack(each).mean(0), rtol=1e-9, atol=1e-11)


def test_every_recipe_is_tested():
    assert {name.split()[0] for name in RECIPES} == set(recipes.__all__)


@pytest.mark.parametrize("build", [build for build, _ in RECIPES.values()], ids=list(RECIPES))
def test_recipe_draws_for_itself(build):
    objective = build()
    x = X.clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = objective(x, C, diagnostics=True)
    result.loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not list(objective.parameters())


def test_sjc_is_the_same_on_the_schedule_of_its_paper():
    """On VE, (x - D(x + s n; s)) / s, of which the residual on VP at that log-SNR is the same."""
    schedule = VESchedule()
    t = torch.linspace(0.2, 0.9, BATCH, dtype=torch.float64)
    s = scales(t, schedule)[1]
    by_hand = (X - denoised(X + s * NOISE[0], C, torch.ones_like(s), s)) / s
    on_ve = recipes.sjc(conditional_gaussian(schedule))(X, C, t=t, noise=NOISE[0]).gradient
    torch.testing.assert_close(on_ve, by_hand, rtol=1e-9, atol=0)
    vp = VPSchedule()
    matched = vp.t_from_log_snr(schedule.log_snr(t))
    on_vp = recipes.sjc(conditional_gaussian())(X, C, t=matched, noise=NOISE[0]).gradient
    torch.testing.assert_close(on_vp, by_hand, rtol=1e-7, atol=0)


def test_vsd_with_a_perfect_fake_of_one_point_is_sds():
    """The optimal fake prior of a generator that makes one point predicts the noise itself."""
    point = X[:1].expand(BATCH, D)
    narrow = GaussianMixturePrior([1.0], X[:1], 1e-12 * torch.eye(D)[None], VPSchedule())
    objective, _ = recipes.vsd(conditional_gaussian(), narrow)
    sds = recipes.sds(conditional_gaussian())
    torch.testing.assert_close(
        objective(point, C, t=T, noise=NOISE).gradient, sds(point, C, t=T, noise=NOISE).gradient
    )


class Linear(nn.Module):
    """A noise prediction a x_t, with dropout that has no place in a baseline."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x_t, t, condition):
        return self.dropout(self.a * x_t)


@pytest.mark.parametrize("recipe", [recipes.vsd, recipes.diff_instruct, recipes.sid])
def test_the_fake_prior_is_fit_by_its_own_loss_alone(recipe):
    network = Linear()
    fake = NetworkPrior(network, VPSchedule())
    objective, fit = recipe(conditional_gaussian(), fake)
    x = X.clone().requires_grad_()
    objective(x, C, t=T[0], noise=NOISE[0]).loss.backward()
    assert network.a.grad is None
    assert network.training
    assert not list(objective.parameters())
    x.grad = None
    network.dropout.p = 0.0
    fit(x, C, t=T[0], noise=NOISE[0]).backward()
    assert x.grad is None
    x_t = Hand(T[0], NOISE[0]).x_t()
    by_hand = (2 * (0.5 * x_t - NOISE[0]) * x_t).sum(1).mean()
    torch.testing.assert_close(network.a.grad, by_hand)


def test_the_fake_prior_is_subtracted_without_its_dropout():
    network = Linear()
    objective, _ = recipes.vsd(conditional_gaussian(), NetworkPrior(network, VPSchedule()))
    training = objective(X, C, t=T, noise=NOISE).gradient
    network.eval()
    assert torch.equal(training, objective(X, C, t=T, noise=NOISE).gradient)


def test_a_fake_prior_on_another_schedule_is_matched():
    """The fake is fit on its own schedule and compared at equal log-SNR."""
    objective, _ = recipes.vsd(conditional_gaussian(), fake_prior(VESchedule(1e-3, 200.0)))
    same, _ = recipes.vsd(conditional_gaussian(), fake_prior())
    torch.testing.assert_close(
        objective(X, C, t=T, noise=NOISE).gradient, same(X, C, t=T, noise=NOISE).gradient
    )


def test_fake_draws_its_own_times_with_the_generator_of_the_objective():
    losses = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(4)
        fake = NetworkPrior(Linear().eval(), VPSchedule())
        _, fit = recipes.vsd(conditional_gaussian(), fake, generator=generator)
        state = torch.get_rng_state()
        losses.append(fit(X, C))
        assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(*losses)


def test_red_diff_descends_and_sums():
    objective = recipes.red_diff(value, conditional_gaussian(), steps=3)
    x = X.clone().requires_grad_()
    seen = []
    for _ in range(4):
        x.grad = None
        result = objective(x, C, diagnostics=True)
        result.loss.backward()
        torch.testing.assert_close(x.grad, result.gradient)
        assert result.diagnostics is not None
        assert result.diagnostics.t is not None
        assert (result.diagnostics.t == result.diagnostics.t[0, 0]).all()
        seen.append(result.diagnostics.t[0, 0].item())
    np.testing.assert_allclose(seen, [0.98, 0.5, 0.02, 0.02])
    assert objective.beta == 4.0  # lambda = .25


def test_diff_instruct_draws_log_normal_sigma_for_both():
    schedule = EDMSchedule()
    seen = []

    def network(x_t, t, condition):
        seen.append(t)
        return x_t

    generator = torch.Generator().manual_seed(0)
    objective, fit = recipes.diff_instruct(
        conditional_gaussian(schedule), NetworkPrior(network, schedule), generator=generator
    )
    fit(torch.zeros(20_000, 1))
    seen.append(objective.times.sample(1, 20_000, torch.device("cpu"), generator)[0])
    for t in seen:
        log_sigma = schedule(t.double())[1].log()
        assert stats.kstest(log_sigma.numpy(), stats.norm(-1.2, 1.2).cdf).pvalue > 0.01


OTHERS: dict[str, Any] = {
    "baseline": lambda: PriorBaseline(conditional_gaussian(), NULL),
    "weighting": lambda: "snr",
    "through_prior": lambda: True,
    "times": lambda: (0.1, 0.9),
}
# What makes a recipe, beside the residual's Jacobian.
MAKES = {
    **dict.fromkeys(
        ("csd", "dds", "nfsd", "vsd", "diff_instruct", "sid", "di_star"), ("baseline",)
    ),
    "sjc": ("weighting",),
    "rfds": ("weighting",),
    "dtql": ("weighting", "baseline"),
    "red_diff": ("times",),
}
ARGUMENTS = {
    "value": lambda: value,
    "prior": conditional_gaussian,
    "fake": fake_prior,
    "null": lambda: NULL,
    "negative": lambda: NEGATIVE,
    "reference": lambda: REFERENCE,
    "condition": lambda: C_REFERENCE,
    "steps": lambda: 5,
}


@pytest.mark.parametrize("name", sorted(set(recipes.__all__) - {"srpo"}))
def test_an_option_that_would_make_it_another_recipe_is_refused(name):
    recipe = getattr(recipes, name)
    needed = [n for n, p in inspect.signature(recipe).parameters.items() if p.default is p.empty]
    given = {n: ARGUMENTS[n]() for n in needed if n in ARGUMENTS}
    built = recipe(**given)
    objective = built[0] if isinstance(built, tuple) else built
    other = not objective.through_prior
    with pytest.raises(ArgumentError, match=f"got through_prior={other} for {name}, expected"):
        recipe(**given, through_prior=other)
    recipe(**given, through_prior=objective.through_prior)
    for option in MAKES.get(name, ()):
        with pytest.raises(ArgumentError, match=f"got {option}=.* for {name}.*, expected"):
            recipe(**given, **{option: OTHERS[option]()})


def test_red_diff_descends_in_the_steps_it_is_told():
    prior, over = conditional_gaussian(), (0.1, 0.9)
    times = DescendingTimes(3, over)
    assert recipes.red_diff(value, prior, steps=3, times=times).times is times
    with pytest.raises(ArgumentError, match="steps=4"):
        recipes.red_diff(value, prior, steps=4, times=times)


def test_a_fake_prior_is_another_one():
    prior = conditional_gaussian()
    for recipe in (recipes.vsd, recipes.diff_instruct, recipes.sid):
        with pytest.raises(ArgumentError, match="of its own"):
            recipe(prior, prior)


def test_options_replace_the_recipes_own():
    objective = recipes.sds(guided(), weighting="uniform", draws=3, beta=0.5)
    each = [h.guided(C) - h.noise for h in (Hand(t, n) for t, n in zip(T, NOISE, strict=True))]
    actual = objective(X, C, t=T, noise=NOISE).gradient
    torch.testing.assert_close(actual, 2 * torch.stack(each).mean(0))
    assert objective.draws == 3
