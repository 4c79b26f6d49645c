"""Noisers: what they draw, what they leave unchanged, and inversion against the exact path."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.errors import ArgumentError
from scoreregs.noisers import (
    AntitheticNoise,
    FixedNoise,
    IndependentNoise,
    InvertedNoise,
    Noised,
    Noiser,
    as_noiser,
)
from scoreregs.times import UniformTimes
from tests.core.gaussians import S2, conditional_gaussian, epsilon, scales
from tests.core.ground_truth import MIXTURES, time_and_noise_nodes

DRAWS, BATCH, D = 4, 3, 2
CPU = torch.device("cpu")


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def normal(*shape: int, value: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seed(value), dtype=torch.float64)


X, C, NULL = normal(BATCH, D), normal(BATCH, D, value=1), normal(1, D, value=2)
T = torch.linspace(0.1, 0.9, DRAWS * BATCH, dtype=torch.float64).reshape(DRAWS, BATCH)

# A row per noiser.
NOISERS: dict[str, Callable[[], Noiser]] = {
    "independent": IndependentNoise,
    "antithetic": AntitheticNoise,
    "fixed": lambda: FixedNoise(normal(BATCH, D)),
    "inverted": lambda: InvertedNoise(steps=3),
    "inverted with its prediction": lambda: InvertedNoise(steps=3, target="prediction"),
}


def build(noiser, **options) -> ScoreRegularizedObjective:
    options.setdefault("generator", seed(7))
    return ScoreRegularizedObjective.from_value(
        None, conditional_gaussian(), noiser=noiser, **options
    )


@pytest.mark.parametrize("make", NOISERS.values(), ids=list(NOISERS))
class TestEveryNoiser:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_shape_and_precision(self, make, dtype):
        noised = make().sample(conditional_gaussian(), X.to(dtype), C, T, seed())
        for noise in (noised.noise, noised.target):
            assert noise is None or noise.shape == (DRAWS, BATCH, D)
            assert noise is None or noise.dtype == dtype

    def test_a_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(self, make):
        state = torch.get_rng_state()
        first, second = (build(make(), draws=2)(X, C).gradient for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), state)

    def test_given_noise_takes_its_place(self, make):
        noise = normal(2, BATCH, D, value=3)
        given = build(make())(X, C, t=T[:2], noise=noise).gradient
        assert torch.equal(given, build("independent")(X, C, t=T[:2], noise=noise).gradient)

    def test_in_half_precision(self, make):
        gradient = build(make(), draws=2)(X.bfloat16(), C).gradient
        assert gradient.dtype == torch.bfloat16
        assert gradient.isfinite().all()


def test_independent_noise_is_what_the_generator_gives():
    noised = IndependentNoise().sample(conditional_gaussian(), X, C, T, seed())
    assert torch.equal(noised.noise, normal(DRAWS, BATCH, D))
    assert noised.target is None


class TestAntithetic:
    def test_pairs_share_their_time(self):
        sampler = UniformTimes()
        t = AntitheticNoise().times(sampler, 4, BATCH, CPU, seed())
        assert torch.equal(t[:2], t[2:])
        assert torch.equal(t[:2], sampler.sample(2, BATCH, CPU, seed()))
        noise = AntitheticNoise().sample(conditional_gaussian(), X, C, t, seed()).noise
        assert torch.equal(noise[:2], -noise[2:])

    def test_what_is_odd_in_the_noise_cancels(self):
        """A Gaussian's residual is affine in the noise: what is left is its mean, exactly."""
        objective = build("antithetic", draws=2)
        diagnostics = objective(X, C, diagnostics=True).diagnostics
        assert diagnostics is not None
        assert diagnostics.t is not None
        alpha, sigma = scales(diagnostics.t[0])
        expected = sigma**2 * epsilon(alpha * X, C, alpha, sigma)
        objective.generator = seed(7)
        torch.testing.assert_close(objective(X, C).gradient, expected)

    def test_expectation_is_unchanged(self):
        mixture = MIXTURES["1-D multimodal"]
        t, noise, share = time_and_noise_nodes(36, 100, 1)
        nodes = ScoreRegularizedObjective.from_value(None, mixture.prior())
        x = torch.full_like(noise, 0.3)
        expected = share @ nodes(x, t=t, noise=noise).gradient
        drawn = ScoreRegularizedObjective.from_value(
            None, mixture.prior(), noiser="antithetic", draws=200_000, generator=seed()
        )
        torch.testing.assert_close(drawn(x[:1]).gradient[0], expected, rtol=0.02, atol=0)


class TestFixed:
    @pytest.mark.parametrize("shape", [(D,), (BATCH, D), (DRAWS, BATCH, D)])
    def test_shapes(self, shape):
        noise = normal(*shape, value=5)
        drawn = FixedNoise(noise).sample(conditional_gaussian(), X, C, T, None).noise
        assert torch.equal(drawn, noise.expand(DRAWS, BATCH, D))

    def test_is_saved_with_the_objective(self):
        objective = build(FixedNoise(normal(BATCH, D, value=5)))
        assert list(objective.state_dict()) == ["noiser.noise"]
        resumed = build(FixedNoise(normal(BATCH, D, value=6)))
        assert not torch.equal(objective(X, C, t=0.3).gradient, resumed(X, C, t=0.3).gradient)
        resumed.load_state_dict(objective.state_dict())
        assert torch.equal(objective(X, C, t=0.3).gradient, resumed(X, C, t=0.3).gradient)

    def test_does_not_change_with_what_it_was_made_of(self):
        noise = normal(BATCH, D)
        objective = build(FixedNoise(noise))
        before = objective(X, C, t=0.3).gradient
        noise.zero_()
        assert torch.equal(objective(X, C, t=0.3).gradient, before)


class TestInversion:
    START = 1e-3

    def exact(self, c: Tensor, t: Tensor) -> Tensor:
        """The probability-flow path of N(c, S2 I) from alpha x at the start: x keeps its rank."""
        (a0, s0), (a, s) = scales(torch.full_like(t, self.START)), scales(t)
        spread = torch.sqrt((a**2 * S2 + s**2) / (a0**2 * S2 + s0**2))
        return a * c + (a0 * X - a0 * c) * spread

    def test_converges_to_the_exact_path_at_the_first_order(self):
        t = T[1]
        alpha, sigma = scales(t)
        errors = []
        for steps in (100, 200, 400):
            noised = InvertedNoise(steps, start=self.START).sample(
                conditional_gaussian(), X, C, t[None], None
            )
            x_t = alpha * X + sigma * noised.noise[0]
            errors.append((x_t - self.exact(C, t)).abs().max().item())
        assert errors[-1] < 0.02
        assert errors[0] / errors[1] == pytest.approx(2, abs=0.15)
        assert errors[1] / errors[2] == pytest.approx(2, abs=0.08)

    def test_has_a_condition_of_its_own(self):
        prior = conditional_gaussian()
        own = InvertedNoise(5, condition=NULL).sample(prior, X, C, T, None).noise
        same = InvertedNoise(5).sample(prior, X, NULL.expand(BATCH, D), T, None).noise
        assert torch.equal(own, same)
        assert not torch.equal(own, InvertedNoise(5).sample(prior, X, C, T, None).noise)

    def by_hand(self, t: Tensor, target: str) -> Tensor:
        """SDI and ISM with two steps: w (epsilon(x_t | c) - target), inverted under null."""
        half = self.START + (t - self.START) / 2
        (a0, s0), (a1, s1) = scales(torch.full_like(t, self.START)), scales(half)
        alpha, sigma = scales(t)
        first = epsilon(a0 * X, NULL, a0, s0)
        x_half = a1 * (a0 * X - s0 * first) / a0 + s1 * first
        second = epsilon(x_half, NULL, a1, s1)
        x_t = alpha * (x_half - s1 * second) / a1 + sigma * second
        noise = (x_t - alpha * X) / sigma
        subtracted = {"noise": noise, "prediction": second}[target]
        return sigma**2 * (epsilon(x_t, C, alpha, sigma) - subtracted)

    @pytest.mark.parametrize("target", ["noise", "prediction"])
    def test_is_sdi_or_ism(self, target):
        noiser = InvertedNoise(2, condition=NULL, target=target)
        actual = build(noiser)(X, C, t=T[:2]).gradient
        expected = torch.stack([self.by_hand(t, target) for t in T[:2]]).mean(0)
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-11)

    def test_no_baseline_leaves_the_prediction(self):
        """What b is does not change where the prior is asked."""
        t = T[1]
        noised = InvertedNoise(2, condition=NULL).sample(
            conditional_gaussian(), X, C, t[None], None
        )
        with_target = build(InvertedNoise(2, NULL, "prediction"), baseline="none")
        alpha, sigma = scales(t)
        expected = sigma**2 * epsilon(alpha * X + sigma * noised.noise[0], C, alpha, sigma)
        torch.testing.assert_close(with_target(X, C, t=t).gradient, expected)

    def test_network_is_asked_without_gradient(self):
        x = X.clone().requires_grad_()
        result = build(InvertedNoise(2))(x, C)
        result.loss.backward()
        torch.testing.assert_close(x.grad, result.gradient / BATCH)


class Zero(Noiser):
    def sample(self, prior, x, condition, t, generator):
        return Noised(torch.zeros(len(t), *x.shape))


def test_of_your_own():
    alpha, sigma = scales(T[0])
    actual = build(Zero(), weighting="uniform")(X, C, t=T[0]).gradient
    torch.testing.assert_close(
        actual, epsilon(alpha * X, C, alpha, sigma), check_dtype=False, rtol=1e-6, atol=1e-6
    )


def test_names():
    assert isinstance(as_noiser("independent"), IndependentNoise)
    assert isinstance(as_noiser("antithetic"), AntitheticNoise)


def degenerate() -> ScoreRegularizedObjective:
    prior = GaussianMixturePrior([1.0], [[0.0] * D], torch.eye(D)[None], VPSchedule())
    return ScoreRegularizedObjective.from_value(
        None, prior, noiser=InvertedNoise(2), times=0.0, weighting="uniform"
    )


BAD = {
    "unknown": (lambda: build("sobol"), ("'sobol'", "'antithetic'")),
    "a tensor": (lambda: build(X), ("noiser=tensor", "'independent'")),
    "odd draws": (lambda: build("antithetic", draws=3)(X, C), ("3 draws", "even", "draws=2")),
    "odd given times": (lambda: build("antithetic")(X, C, t=T[:3]), ("3 draws", "even")),
    "fixed noise of another event": (
        lambda: build(FixedNoise(normal(5)))(X, C),
        ("(5,)", "(2,), (3, 2) or (1, 3, 2)"),
    ),
    "fixed noise of other draws": (
        lambda: build(FixedNoise(normal(DRAWS, BATCH, D)), draws=2)(X, C),
        ("(4, 3, 2)", "2 draws"),
    ),
    "no steps": (lambda: InvertedNoise(0), ("steps=0", "at least 1")),
    "target unknown": (
        lambda: InvertedNoise(target="eps"),  # pyright: ignore[reportArgumentType]
        ("'eps'", "'prediction'"),
    ),
    "start beyond 1": (lambda: InvertedNoise(start=1.5), ("start=1.5", "[0, 1)")),
    "condition of another batch": (
        lambda: build(InvertedNoise(2, condition=normal(2, D)))(X, C),
        ("(2, 2)", "3", "rows"),
    ),
    "no noise at sigma = 0": (lambda: degenerate()(X), ("NaN or infinity in noise", "finite")),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=list(BAD))
def test_bad_input(act, says):
    with pytest.raises(ArgumentError) as caught:
        act()
    for words in ("got", "expected", *says):
        assert words in str(caught.value)
