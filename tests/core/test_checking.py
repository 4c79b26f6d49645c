"""check_prior: the right cause for a prior that is plugged in wrong, and no false alarms."""

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    CosineSchedule,
    GaussianMixturePrior,
    NetworkPrior,
    VPSchedule,
    check_prior,
)
from scoreregs.errors import ArgumentError, PriorError
from scoreregs.predictions import PredictionLike
from scoreregs.trees import Condition, map_tensors
from tests.core.ground_truth import MIXTURES
from tests.core.networks import PREDICTIONS, ExactNetwork, TimedNetwork

SCHEDULE = VPSchedule()


def random_mixture(seed: int, dimension: int) -> GaussianMixturePrior:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    count = 1 + seed % 4
    weights = 0.2 + torch.rand(count, generator=generator, dtype=torch.float64)
    factor = (0.1 + 0.2 * (seed % 5)) * draw(count, dimension, dimension) / dimension**0.5
    covariances = factor @ factor.mT + 1e-4 * torch.eye(dimension)
    means = (0.5 + seed % 3) * draw(count, dimension)
    return GaussianMixturePrior(weights / weights.sum(), means, covariances, SCHEDULE)


EXACT = random_mixture(3, 8)
DATA = EXACT.draw(256, generator=torch.Generator().manual_seed(0)).float()


class Warped(nn.Module):
    """A network that was trained on other times, or whose output is scaled."""

    def __init__(self, prediction, time=lambda t: t, sign=1.0):
        super().__init__()
        self.network, self.time, self.sign = ExactNetwork(EXACT, prediction), time, sign

    def forward(self, x_t, t, condition):
        return self.sign * self.network(x_t, self.time(t), condition)


def cause(
    network, prediction: PredictionLike = "epsilon", data=DATA, schedule=SCHEDULE, **options
) -> str:
    report = check_prior(NetworkPrior(network, schedule, prediction, **options), data)
    assert not report.ok
    assert report.cause is not None
    assert str(report).endswith(f"not ok: {report.cause}")
    return report.cause


class TestCauses:
    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_sign(self, prediction):
        assert cause(Warped(prediction, sign=-1.0), prediction).startswith("sign")

    @pytest.mark.parametrize("declared", PREDICTIONS)
    @pytest.mark.parametrize("actual", PREDICTIONS)
    def test_prediction(self, actual, declared):
        if actual == declared:
            assert check_prior(NetworkPrior(ExactNetwork(EXACT, actual), SCHEDULE, actual), DATA).ok
        else:
            assert f'prediction="{actual}"' in cause(ExactNetwork(EXACT, actual), declared)

    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_reversed_time(self, prediction):
        assert "1 - t" in cause(Warped(prediction, lambda t: 1 - t), prediction)

    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_missing_thousand(self, prediction):
        """A network that wants 0..1000 and gets 0..1."""
        assert "scaled by 1000;" in cause(Warped(prediction, lambda t: t / 1000), prediction)

    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_needless_thousand(self, prediction):
        mapped = cause(ExactNetwork(EXACT, prediction), prediction, time_map=lambda t: 1000 * t)
        assert "scaled by 1/1000;" in mapped

    @pytest.mark.parametrize("factor", [0.25, 2.0])
    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_scaled_data(self, prediction, factor):
        said = cause(ExactNetwork(EXACT, prediction), prediction, DATA * factor)
        assert said.startswith("scaling")
        assert f"multiplied with {1 / factor:.3g};" in said

    def test_data_in_other_units(self):
        """The factor that gives unit variance is tried, whatever it is."""
        closed_form = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], SCHEDULE)
        data = closed_form.draw(512, generator=torch.Generator().manual_seed(0))
        report = check_prior(closed_form, 127.5 * data)
        assert report.cause is not None
        assert report.cause.startswith("scaling")

    @pytest.mark.parametrize(
        ("schedule", "sign"),
        [(VPSchedule(0.1, 5), "-"), (CosineSchedule(), "-"), (VPSchedule(0.5, 40), "+")],
        ids=["slow", "cosine", "fast"],
    )
    @pytest.mark.parametrize("prediction", ["epsilon", "sample"])
    def test_schedule(self, prediction, schedule, sign):
        """A network trained under VP-linear, which adds noise sooner than two and later than one.

        The error of the other types hardly rises: their conversion is nearly that of a Gaussian.
        """
        said = cause(ExactNetwork(EXACT, prediction), prediction, schedule=schedule)
        assert said.startswith("schedule")
        assert f"the log-SNR is {sign}" in said

    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "score"])
    def test_untrained(self, prediction):
        """Not v and flow: an output of zero is the optimum there for a standard normal."""
        torch.manual_seed(0)
        report = check_prior(NetworkPrior(TimedNetwork(8), SCHEDULE, prediction), DATA)
        assert not report.ok

    def test_trained_on_other_data(self):
        other = random_mixture(6, 8).draw(256, generator=torch.Generator().manual_seed(0))
        assert not check_prior(NetworkPrior(ExactNetwork(EXACT, "epsilon"), SCHEDULE), other).ok


class TestNoFalseAlarms:
    @pytest.mark.parametrize("name", MIXTURES)
    def test_closed_form(self, name):
        prior = MIXTURES[name].prior()
        report = check_prior(prior, prior.draw(1024, generator=torch.Generator().manual_seed(0)))
        assert report.ok, str(report)
        assert report.cause is None
        assert str(report).endswith("ok: plugged in right")

    @pytest.mark.parametrize("dimension", [1, 8])
    @pytest.mark.parametrize("seed", range(8))
    def test_random_mixtures(self, seed, dimension):
        prior = random_mixture(seed, dimension)
        data = prior.draw(128 if seed % 2 else 512, generator=torch.Generator().manual_seed(0))
        report = check_prior(prior, data)
        assert report.ok, str(report)

    @pytest.mark.parametrize(
        ("base", "power", "smallest"), [(2, 0.5, 1.0), (3, 1.0, 0.2), (2, 1.5, 0.05)]
    )
    def test_heavy_tails(self, base, power, smallest):
        """Data that looks much the same when it is scaled: another scale is easier, not right."""
        scales = smallest * base ** torch.arange(8, dtype=torch.float64)
        weights = scales**-power
        prior = GaussianMixturePrior(
            weights / weights.sum(), torch.zeros(8, 1), scales.square()[:, None, None], SCHEDULE
        )
        report = check_prior(prior, prior.draw(2048, generator=torch.Generator().manual_seed(0)))
        assert report.ok, str(report)

    def test_conditional(self):
        def mixture(c):
            goal = c["goal"]
            covariances = (0.1 * torch.eye(2)).expand(len(goal), 1, 2, 2)
            return torch.ones(len(goal), 1), goal[:, None], covariances

        prior = GaussianMixturePrior.conditional(mixture, SCHEDULE)
        generator = torch.Generator().manual_seed(0)
        condition: dict[str, Condition] = {"goal": torch.randn(512, 2, generator=generator)}
        data = prior.draw(512, condition, generator)
        assert check_prior(prior, data, condition).ok
        shuffled = map_tensors(lambda c: c.roll(1, 0), condition)
        assert not check_prior(prior, data, shuffled).ok


class TestReport:
    def test_error_is_the_posterior_variance(self):
        """For one Gaussian of variance v it is alpha^2 v / (alpha^2 v + sigma^2)."""
        prior = GaussianMixturePrior([1.0], [[0.5]], [[[0.3]]], SCHEDULE)
        report = check_prior(prior, prior.draw(2048, generator=torch.Generator().manual_seed(0)))
        snr = 0.3 * torch.exp(torch.arange(4.0, -5.0, -1.0))
        assert report.error == pytest.approx((snr / (snr + 1)).tolist(), rel=0.15)
        assert report.constant == pytest.approx(snr.clamp(max=1).tolist(), rel=0.15)
        log_snr = SCHEDULE.log_snr(torch.tensor(report.t, dtype=torch.float64))
        torch.testing.assert_close(log_snr, torch.arange(4.0, -5.0, -1.0).double())

    def test_is_reproducible_and_leaves_the_global_generator_alone(self):
        state = torch.get_rng_state()
        first, second = check_prior(EXACT, DATA), check_prior(EXACT, DATA)
        assert first == second
        assert torch.equal(torch.get_rng_state(), state)
        other = check_prior(EXACT, DATA, generator=torch.Generator().manual_seed(1))
        assert other.error != first.error

    def test_noise_is_not_the_data_of_a_common_seed(self):
        """Data drawn with seed 0 is not denoised with the same numbers as noise."""
        prior = GaussianMixturePrior([1.0], [[0.0, 0.0]], torch.eye(2)[None], SCHEDULE)
        for seed in range(3):
            data = torch.randn(512, 2, generator=torch.Generator().manual_seed(seed))
            assert check_prior(prior, data).ok

    def test_a_prior_that_looks_its_time_up_is_asked_inside_its_table_only(self):
        table = torch.linspace(0, 1, 50)

        def steps(t):
            index = (t * 50).round().long().clamp(min=1) - 1
            return table[index]

        network = ExactNetwork(EXACT, "epsilon")
        assert check_prior(NetworkPrior(network, SCHEDULE, time_map=steps), DATA).t


@pytest.mark.parametrize(
    ("data", "condition", "message"),
    [
        (DATA.numpy(), None, "ndarray"),
        (DATA.long(), None, "int64"),
        (DATA[0], None, r"\(8,\)"),
        (DATA[:1], None, "at least 2"),
        (DATA * float("nan"), None, "NaN or infinity in the data"),
        (DATA[:1].expand(8, 8), None, "without variance"),
        (DATA, DATA[:3], "one row for each"),
    ],
)
def test_bad_input(data, condition, message):
    with pytest.raises(ArgumentError, match=message):
        check_prior(EXACT, data, condition)


def test_a_network_of_another_shape():
    prior = NetworkPrior(lambda x_t, t, condition: x_t[:, :1], SCHEDULE)
    with pytest.raises(PriorError, match=r"\(256, 1\)"):
        check_prior(prior, DATA)
