"""Priors that wrap priors: through the contract, and against what they say by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    ClampedPrior,
    CombinedPrior,
    CosineSchedule,
    DenoiserPrior,
    EDMPrior,
    EDMSchedule,
    GaussianMixturePrior,
    GuidedPrior,
    MatchedPrior,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    ScorePrior,
    ScoreRegularizedObjective,
    TabulatedSchedule,
    Term,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError, SingularTimeError
from scoreregs.predictions import PredictionName, as_prediction, expand
from scoreregs.priors.guided import Coefficient, coefficient_at
from scoreregs.testing import PriorContract
from scoreregs.trees import concatenate

F64 = torch.float64
VP = VPSchedule()
WIDE = EDMSchedule(1e-3, 500.0)  # has every log-SNR of VP between .02 and .98
NAMES: tuple[PredictionName, ...] = (
    "epsilon",
    "sample",
    "v_prediction",
    "score",
    "flow_prediction",
)
MEANS = torch.tensor([[-0.8, 0.3], [0.6, -0.2]], dtype=F64)
COVARIANCES = torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.1, 0.0], [0.0, 0.4]]], dtype=F64)


def mixture(schedule: NoiseSchedule = VP, shift: float = 0.0) -> GaussianMixturePrior:
    return GaussianMixturePrior([0.4, 0.6], MEANS + shift, COVARIANCES, schedule)


def around(condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    count = len(condition)
    return torch.ones(count, 1), condition[:, None], (0.2 * torch.eye(2)).expand(count, 1, 2, 2)


def conditional(schedule: NoiseSchedule = VP) -> GaussianMixturePrior:
    """N(c, 0.2 I) given c."""
    return GaussianMixturePrior.conditional(around, schedule)


class Says(ScorePrior):
    """A closed-form prior through any prediction type, that counts its calls."""

    def __init__(self, truth: GaussianMixturePrior, name: PredictionName) -> None:
        super().__init__(truth.schedule, name)
        self.truth = truth
        self.calls = 0

    def predict(self, x_t, t, condition=None):
        self.calls += 1
        level = self.schedule.at(t)
        score = self.truth.predict(x_t.double(), level.t, condition)
        epsilon = -expand(level.sigma, score) * score
        sample = (x_t + expand(level.sigma**2, score) * score) / expand(level.alpha, score)
        # The target at (x_hat, epsilon_hat) is minus the difference of an output of zero.
        prediction = as_prediction(self.prediction)
        target = prediction.difference(0 * score, sample, epsilon, level, self.schedule)
        if prediction.name == "sample":
            return target.to(x_t.dtype)
        return (score if prediction.name == "score" else -target).to(x_t.dtype)


def exact_epsilon(prior: GaussianMixturePrior, x_t: Tensor, t: float, condition=None) -> Tensor:
    level = prior.schedule.at(torch.full((len(x_t),), t, dtype=F64))
    return -level.sigma[:, None] * prior.predict(x_t, level.t, condition)


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(count, 2, generator=generator, dtype=F64)
    return x_t, torch.randn(count, 2, generator=generator, dtype=F64)


@dataclass(frozen=True)
class Row:
    make: Callable[[], ScorePrior]
    conditional: bool = False


NULL = torch.zeros(1, 2)
PRIORS = {
    "guided by 1": Row(lambda: GuidedPrior(Says(conditional(), "v_prediction"), 1.0, NULL), True),
    "guided in time": Row(
        lambda: GuidedPrior(conditional(), lambda level: torch.ones_like(level.t), NULL), True
    ),
    "sum to one": Row(
        lambda: CombinedPrior(
            [Term(Says(mixture(), "sample"), 0.7), Term(Says(mixture(), "sample"), 0.3)]
        )
    ),
    "sum over types and schedules": Row(
        lambda: CombinedPrior(
            [
                Term(Says(mixture(), "v_prediction"), lambda level: level.alpha),
                Term(Says(mixture(WIDE), "sample"), lambda level: 1 - level.alpha),
            ]
        )
    ),
    "product": Row(lambda: CombinedPrior.product([mixture(), mixture()], [0.5, 0.5])),
    "matched": Row(lambda: MatchedPrior(Says(mixture(WIDE), "flow_prediction"), VP)),
    "clamped": Row(lambda: ClampedPrior(Says(mixture(), "epsilon"), -9.0, 9.0)),
    "preconditioned": Row(lambda: EDMPrior(Preconditioned(mixture(), 0.5), VP)),
    "denoiser": Row(lambda: DenoiserPrior(Denoiser(mixture(EDMSchedule())), VP)),
}


class Denoiser(nn.Module):
    def __init__(self, truth: GaussianMixturePrior) -> None:
        super().__init__()
        self.truth = truth

    def forward(self, x, sigma, condition=None):
        score = self.truth.predict(x, EDMSchedule().t_from_log_snr(-2 * sigma.double().log()))
        return x + sigma[:, None] ** 2 * score


class Preconditioned(nn.Module):
    """F of the mixture's denoiser."""

    def __init__(self, truth: GaussianMixturePrior, sigma_data: float) -> None:
        super().__init__()
        self.denoise = Denoiser(mixture(EDMSchedule()))
        self.sigma_data = sigma_data

    def forward(self, scaled, c_noise, condition=None):
        sigma, d = torch.exp(4 * c_noise.double()), self.sigma_data
        norm = (sigma**2 + d**2).sqrt()[:, None]
        x = scaled.double() * norm
        denoised = self.denoise(x, sigma)
        f = (denoised - d**2 / norm**2 * x) * norm / (sigma[:, None] * d)
        return f.to(scaled.dtype)


class TestContract(PriorContract):
    @pytest.fixture(autouse=True, params=PRIORS.values(), ids=list(PRIORS))
    def _row(self, request):
        self.row = request.param

    def make_prior(self):
        return self.row.make()

    def make_data(self):
        generator = torch.Generator().manual_seed(1)
        if not self.row.conditional:
            return mixture().draw(512, generator=generator).float(), None
        condition = torch.randn(512, 2, generator=generator)
        return conditional().draw(512, condition, generator).float(), condition


class TestGuidance:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("scale", [0.0, 1.0, 7.5, lambda level: 2 * level.sigma])
    def test_is_the_formula(self, name: PredictionName, scale: Coefficient):
        x_t, condition = batch()
        null = torch.tensor([[0.5, -0.5]], dtype=F64)
        for t in (0.1, 0.6):
            value = coefficient_at(scale, VP.at(torch.tensor([t], dtype=F64)))
            away = exact_epsilon(conditional(), x_t, t, null.expand(len(x_t), 2))
            towards = exact_epsilon(conditional(), x_t, t, condition)
            prior = Says(conditional(), name)
            got = GuidedPrior(prior, scale, null).epsilon(x_t, t, condition)
            torch.testing.assert_close(got, away + value * (towards - away), rtol=1e-9, atol=1e-9)
            assert prior.calls == 1

    def test_scale_one_is_the_conditional_prior_to_the_bit(self):
        x_t, condition = batch()
        prior = NetworkPrior(lambda x, t, c: (3.3 * x + c).sin(), VP)
        guided = GuidedPrior(prior, 1.0, torch.ones(1, 2, dtype=F64))
        assert torch.equal(guided.epsilon(x_t, 0.3, condition), prior.epsilon(x_t, 0.3, condition))

    def test_a_negative_condition_may_differ_by_row(self):
        x_t, condition = batch()
        prior = conditional()
        got = GuidedPrior(prior, 2.0, -condition).epsilon(x_t, 0.4, condition)
        towards = exact_epsilon(prior, x_t, 0.4, condition)
        expected = 2 * towards - exact_epsilon(prior, x_t, 0.4, -condition)
        torch.testing.assert_close(got, expected)

    def test_conditions_are_trees(self):
        seen = []

        def network(x_t, t, condition):
            seen.append(condition)
            return x_t

        null = {"text": torch.zeros(1, 3), "more": [torch.tensor([9]), None]}
        given = {"text": torch.ones(2, 3), "more": [torch.tensor([1, 2]), None]}
        GuidedPrior(NetworkPrior(network, VP), 3.0, null).epsilon(torch.ones(2, 1), 0.5, given)
        assert seen[0]["text"][:, 0].tolist() == [0, 0, 1, 1]
        assert seen[0]["more"][0].tolist() == [9, 9, 1, 2]
        assert seen[0]["more"][1] is None

    @pytest.mark.parametrize(
        ("null", "condition", "message"),
        [
            (None, torch.ones(2, 2), "no null condition"),
            (torch.ones(1, 2), None, "no condition to guide"),
            (torch.ones(1, 3), torch.ones(2, 2), "one shape"),
            (torch.ones(3, 2), torch.ones(2, 2), "1 or 2 rows"),
            ({"a": torch.ones(1, 2)}, {"b": torch.ones(2, 2)}, "one structure"),
            ([torch.ones(1, 2)], (torch.ones(2, 2),), "one structure"),
            ([torch.ones(1, 2)], [torch.ones(2, 2)] * 2, "one structure"),
            (torch.ones(1, 2), [torch.ones(2, 2)], "one structure"),
        ],
    )
    def test_bad_conditions_are_refused(self, null, condition, message):
        with pytest.raises(ArgumentError, match=message):
            GuidedPrior(conditional(), 2.0, null).epsilon(torch.ones(2, 2), 0.5, condition)

    def test_a_scale_is_one_number_a_time(self):
        prior = GuidedPrior(conditional(), lambda level: torch.ones(3), NULL)
        with pytest.raises(ArgumentError, match="coefficient"):
            prior.epsilon(torch.ones(2, 2), 0.5, torch.ones(2, 2))


class TestCombination:
    @pytest.mark.parametrize("first", NAMES)
    @pytest.mark.parametrize("second", NAMES)
    @pytest.mark.parametrize(
        "schedule", [VP, EDMSchedule(), CosineSchedule()], ids=lambda s: type(s).__name__
    )
    def test_is_the_sum_of_noises_at_matched_log_snr(self, first, second, schedule):
        x_t, _ = batch()
        t = 0.4
        expected = 1.5 * exact_epsilon(mixture(), x_t, t) - 0.7 * exact_epsilon(
            mixture(shift=0.5), x_t, t
        )
        terms = [
            Term(Says(mixture(), first), 1.5),
            Term(
                Says(mixture(schedule, 0.5), second), lambda level: torch.full_like(level.t, -0.7)
            ),
        ]
        got = CombinedPrior(terms).epsilon(x_t, t)
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)

    def test_coefficients_may_change_in_time(self):
        x_t, condition = batch()
        prior = Says(conditional(), "v_prediction")
        terms = [
            Term(prior, lambda level: level.alpha**2),
            Term(prior, lambda level: level.t, -condition),
            Term(prior, -1.0, NULL.double()),
        ]
        t = torch.linspace(0.1, 0.9, len(x_t), dtype=F64)
        got = CombinedPrior(terms).epsilon(x_t, t, condition)
        level = VP.at(t)
        for i in range(len(x_t)):
            row, time = x_t[i : i + 1], t[i].item()
            expected = (
                level.alpha[i] ** 2 * exact_epsilon(conditional(), row, time, condition[i : i + 1])
                + t[i] * exact_epsilon(conditional(), row, time, -condition[i : i + 1])
                - exact_epsilon(conditional(), row, time, NULL.double())
            )
            torch.testing.assert_close(got[i : i + 1], expected, rtol=1e-9, atol=1e-9)
        assert prior.calls == 1

    @pytest.mark.parametrize("name", NAMES)
    def test_one_type_and_coefficients_of_one_stay_native(self, name):
        terms = [Term(Says(mixture(), name), 1.7), Term(Says(mixture(shift=0.4), name), -0.7)]
        prior = CombinedPrior(terms)
        assert prior.prediction.name == name
        x_t, _ = batch()
        one, other = (exact_epsilon(mixture(shift=s), x_t, 0.3) for s in (0.0, 0.4))
        torch.testing.assert_close(prior.epsilon(x_t, 0.3), 1.7 * one - 0.7 * other)

    def test_native_data_predictions_have_a_gradient_without_noise(self):
        """Through epsilon_hat = (x_t - x_hat) / sigma it would be 0 / 0."""
        prior = CombinedPrior([Term(Says(mixture(), "sample"), c) for c in (0.5, 0.5)])
        objective = ScoreRegularizedObjective.from_value(None, prior, times=(0.1, 0.9))
        x, noise = batch()
        assert torch.equal(objective(x, t=0.0, noise=noise).gradient, torch.zeros_like(x))

    def test_a_product_adds_scores(self):
        x_t, _ = batch()
        one, other = mixture(), mixture(shift=0.7)
        t = torch.full((len(x_t),), 0.2, dtype=F64)
        scores = one.predict(x_t, t) + 2 * other.predict(x_t, t)
        product = CombinedPrior.product([one, other], [1.0, 2.0])
        torch.testing.assert_close(product.score(x_t, 0.2), scores)

        def log_density(x):
            return one.log_prob(x, 0.2) + 2 * other.log_prob(x, 0.2)

        x = x_t.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(log_density(x).sum(), x)
        torch.testing.assert_close(product.score(x_t, 0.2), gradient)

    def test_networks_of_every_term_are_found(self):
        class Network(nn.Module):
            def forward(self, x_t, t, condition):
                return x_t

        prior = CombinedPrior(
            [
                Term(GuidedPrior(NetworkPrior(Network(), VP), 2.0, NULL)),
                Term(ClampedPrior(NetworkPrior(Network(), EDMSchedule()))),
            ]
        )
        assert len(list(prior.networks())) == 2

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: CombinedPrior([]), "at least one Term"),
            (lambda: CombinedPrior([mixture()]), "at least one Term"),  # type: ignore[list-item]
            (lambda: CombinedPrior.product([mixture()], [1.0, 2.0]), "one for each"),
        ],
    )
    def test_what_is_no_combination_is_refused(self, make, message):
        with pytest.raises(ArgumentError, match=message):
            make()


SCHEDULES = [
    VP,
    CosineSchedule(),
    EDMSchedule(),
    VESchedule(),
    RectifiedFlowSchedule(shift=3.0),
    TabulatedSchedule.from_alphas_cumprod(
        torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=F64), 0), "log_snr"
    ),
]


class TestMatching:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("inner", SCHEDULES, ids=lambda s: type(s).__name__)
    @pytest.mark.parametrize("outer", SCHEDULES, ids=lambda s: type(s).__name__)
    def test_is_the_same_mixture_on_the_other_schedule(self, outer, inner, name):
        prior = MatchedPrior(Says(mixture(inner), name), outer)
        for log_snr in (4.0, 0.0, -5.0):
            t = outer.t_from_log_snr(torch.tensor([log_snr], dtype=F64)).item()
            level = outer.at(torch.tensor([t], dtype=F64))
            x_t = batch()[0] * torch.hypot(level.alpha, level.sigma)
            truth = mixture(outer)
            for derived in ("epsilon", "denoise", "score"):
                got, expected = getattr(prior, derived)(x_t, t), getattr(truth, derived)(x_t, t)
                torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7)

    def test_a_table_that_snaps_sees_but_is_not_seen_through(self):
        table = TabulatedSchedule.from_alphas_cumprod([0.9, 0.5, 0.1])
        with pytest.raises(ArgumentError, match="log_snr"):
            MatchedPrior(mixture(table), VP)
        x_t, _ = batch()
        prior = MatchedPrior(mixture(), table)
        torch.testing.assert_close(prior.epsilon(x_t, 0.7), mixture(table).epsilon(x_t, 0.7))

    def test_two_equal_tables_are_one_schedule(self):
        tables = [TabulatedSchedule.from_alphas_cumprod([0.9, 0.5, 0.1]) for _ in range(2)]
        priors = [mixture(table) for table in tables]
        x_t, _ = batch()
        got = CombinedPrior.product(priors).epsilon(x_t, 0.7)
        torch.testing.assert_close(got, 2 * priors[0].epsilon(x_t, 0.7))

    def test_a_ratio_that_the_prior_never_has_is_refused(self):
        prior = MatchedPrior(mixture(VESchedule()), VP)
        with pytest.raises(ArgumentError, match="log-SNR"):
            prior.epsilon(torch.ones(1, 2), 1e-6)


class TestClamping:
    @pytest.mark.parametrize("name", NAMES)
    def test_keeps_the_predicted_sample_in_its_range(self, name):
        x_t, _ = batch()
        t = 0.3
        x_hat = mixture().denoise(x_t, t)
        assert bool((x_hat.abs() > 0.25).any() & (x_hat.abs() < 0.25).any())
        prior = ClampedPrior(Says(mixture(), name), -0.25, 0.25)
        torch.testing.assert_close(prior.denoise(x_t, t), x_hat.clamp(-0.25, 0.25))
        level = VP.at(torch.tensor([t], dtype=F64))
        expected = (x_t - level.alpha * x_hat.clamp(-0.25, 0.25)) / level.sigma
        torch.testing.assert_close(prior.epsilon(x_t, t), expected)

    def test_is_singular_without_noise(self):
        prior = ClampedPrior(mixture())
        with pytest.raises(SingularTimeError):
            ScoreRegularizedObjective.from_value(None, prior, weighting="uniform", times=(0.0, 1.0))

    def test_an_empty_range_is_refused(self):
        with pytest.raises(ArgumentError, match="low < high"):
            ClampedPrior(mixture(), 1.0, -1.0)


def test_concatenation_keeps_the_last_dtype():
    joined = concatenate([torch.zeros(1, 2, dtype=F64), torch.ones(1, 2)])
    assert isinstance(joined, Tensor)
    assert joined.dtype == torch.float32
