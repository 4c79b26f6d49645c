"""check_prior: the right cause for a prior that is plugged in wrong, and no false alarms."""

import sys

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    CosineSchedule,
    DenoiserPrior,
    EDMSchedule,
    GaussianMixturePrior,
    NetworkPrior,
    RectifiedFlowSchedule,
    VPSchedule,
    check_prior,
)
from scoreregs.checking import DataMap
from scoreregs.errors import ArgumentError, MissingDependencyError, PriorError
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


def modes(low: float, high: float) -> GaussianMixturePrior:
    """Three narrow modes in four dimensions between two numbers."""
    means = torch.tensor(
        [[0.05, 0.1, 0.85, 0.8], [0.9, 0.95, 0.2, 0.15], [0.25, 0.8, 0.95, 0.05]],
        dtype=torch.float64,
    )
    covariance = (0.05 * (high - low)) ** 2 * torch.eye(4, dtype=torch.float64)
    means = low + (high - low) * means
    return GaussianMixturePrior([1 / 3] * 3, means, covariance.expand(3, 4, 4), SCHEDULE)


def in_range(low: float, high: float) -> Tensor:
    return modes(low, high).draw(1000, generator=torch.Generator().manual_seed(0)).float()


class TestDataOfAnotherRange:
    """An affine mistake of the data is told apart from a schedule's."""

    @pytest.mark.parametrize(
        ("trained", "given", "named"),
        [
            ((-1, 1), (0, 1), "x * 2 - 1"),
            ((0, 1), (-1, 1), "(x + 1) / 2"),
            ((-1, 1), (0, 255), "x / 127.5 - 1"),
            ((0, 1), (0, 255), "x / 255"),
        ],
    )
    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
    def test_of_pictures_is_named(self, prediction, trained, given, named):
        network = ExactNetwork(modes(*trained), prediction)
        report = check_prior(NetworkPrior(network, SCHEDULE, prediction), in_range(*given))
        assert not report.ok
        assert str(report.cause).startswith("scaling")
        assert f"{named};" in str(report.cause)
        assert report.reading is not None
        assert report.reading.schedule is SCHEDULE
        assert report.ratio > 1.5

    @pytest.mark.parametrize(("scale", "shift"), [(0.18215, 0.0), (1.5305, -0.0932), (0.7, 0.9)])
    def test_of_latents_is_fitted(self, scale, shift):
        """Latents before their scale and shift, whatever those are."""
        raw = (in_range(-1, 1) - shift) / scale
        report = check_prior(modes(-1, 1), raw)
        assert not report.ok
        assert report.reading is not None
        assert str(report.cause).startswith("scaling")
        found = report.reading.data
        assert found.is_near(DataMap(scale, shift), raw.std().item()), str(report.cause)

    @pytest.mark.parametrize(
        ("mapped", "named"),
        [
            (lambda x: (x.mean(0), x.std(0)), "standardised by its own mean and deviation"),
            (
                lambda x: ((x.amin(0) + x.amax(0)) / 2, (x.amax(0) - x.amin(0)) / 2),
                "scaled onto [-1, 1] by its own bounds",
            ),
        ],
    )
    def test_of_each_channel_is_named(self, mapped, named):
        """As actions, and latents with statistics of their channels."""
        scale, shift = torch.tensor([7.0, 0.02]).double(), torch.tensor([3.0, -0.5]).double()
        means = torch.tensor([[1.0, -1.0], [-1.0, 0.6], [0.1, 1.0]]).double() * scale + shift
        weights, variances = torch.tensor([0.4, 0.3, 0.3]).double(), 0.05 * scale**2
        raw = GaussianMixturePrior(
            weights, means, torch.diag(variances).expand(3, 2, 2), EDMSchedule()
        ).draw(512, generator=torch.Generator().manual_seed(0))
        centre, width = mapped(raw)
        covariances = torch.diag(variances / width**2).expand(3, 2, 2)
        prior = GaussianMixturePrior(weights, (means - centre) / width, covariances, EDMSchedule())
        report = check_prior(prior, raw)
        assert not report.ok
        assert f"each channel of the data, along dimension 1, is {named}" in str(report.cause)
        assert check_prior(prior, (raw - centre) / width).ok

    def test_of_a_denoiser_is_named(self):
        exact = modes(0, 1)

        def denoiser(x, sigma, condition):
            level = EDMSchedule().t_from_log_snr(-2 * sigma.double().log())
            # EDM's own levels: alpha is one.
            prior = GaussianMixturePrior(
                [1 / 3] * 3,
                exact._mixture(None).means[0],
                (0.05**2 * torch.eye(4)).expand(3, 4, 4),
                EDMSchedule(),
            )
            return prior.denoise(x, level.clamp(0, 1)).to(x.dtype)

        assert check_prior(DenoiserPrior(denoiser, SCHEDULE), in_range(0, 1)).ok
        report = check_prior(DenoiserPrior(denoiser, SCHEDULE), in_range(-1, 1))
        assert "(x + 1) / 2;" in str(report.cause)

    def test_beside_another_prediction_and_schedule_all_are_named(self):
        network = ExactNetwork(modes(-1, 1), "v_prediction")
        prior = NetworkPrior(network, RectifiedFlowSchedule(), "epsilon")
        cause = str(check_prior(prior, in_range(0, 255)).cause)
        assert 'prediction="v_prediction"' in cause
        assert "x / 127.5 - 1;" in cause
        assert "under VPSchedule(beta_min=0.1, beta_max=20)" in cause
        assert cause.count("; besides, ") == 2


class TestNeverOkAboveTheConstant:
    @pytest.mark.parametrize("prediction", PREDICTIONS)
    @pytest.mark.parametrize("claimed", [RectifiedFlowSchedule(), CosineSchedule()])
    def test_another_schedule_is_named(self, prediction, claimed):
        """Where x0 networks pass with 1.49 of the constant, and v and flow within some percent."""
        data = in_range(-1, 1)
        network = ExactNetwork(modes(-1, 1), prediction)
        report = check_prior(NetworkPrior(network, claimed, prediction), data)
        assert not report.ok
        assert "VPSchedule(beta_min=0.1, beta_max=20)" in str(report.cause)

    @pytest.mark.parametrize("log_snr", [4.0, -4.0])
    def test_a_network_that_is_weak_at_one_end_is_not_ok(self, log_snr):
        exact = ExactNetwork(EXACT, "epsilon").eval()
        weak = float(SCHEDULE.t_from_log_snr(torch.tensor(log_snr)))

        def network(x_t, t, condition):
            error = ((t - weak).abs() < 1e-3)[:, None] * 1.1
            return exact(x_t, t, condition) + error * torch.ones_like(x_t)

        report = check_prior(NetworkPrior(network, SCHEDULE), DATA)
        assert not report.ok
        assert report.reading is None
        assert str(report.cause).startswith("weak")
        assert f"from {log_snr:g} to {log_snr:g}," in str(report.cause)

    def test_a_schedule_that_is_nearly_the_same_is_ok(self):
        prior = NetworkPrior(ExactNetwork(EXACT, "epsilon"), VPSchedule(0.101, 19.9))
        assert check_prior(prior, DATA).ok

    def test_nan_is_not_ok(self):
        def network(x_t, t, condition):
            return torch.where((t > 0.3)[:, None], torch.nan, x_t)

        report = check_prior(NetworkPrior(network, SCHEDULE), DATA)
        assert not report.ok


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

    def test_sorted_data(self):
        """As data sets are by class: rows are looked at all over them."""
        prior = GaussianMixturePrior(
            [0.5, 0.5], [[-1.0], [1.0]], 0.01 * torch.ones(2, 1, 1), SCHEDULE
        )
        data = prior.draw(4096, generator=torch.Generator().manual_seed(0)).sort(0).values
        assert check_prior(prior, data).ok

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


class TestBudget:
    @pytest.mark.parametrize("batch_size", [7, 64])
    def test_the_prior_sees_at_most_a_batch_at_once(self, batch_size):
        seen = []

        def network(x_t, t, condition):
            seen.append(len(x_t))
            assert len(condition) == len(x_t)
            return (SCHEDULE(t)[1][:, None] * x_t).to(x_t.dtype)

        data = torch.randn(24, 32, generator=torch.Generator().manual_seed(0))
        prior = NetworkPrior(network, SCHEDULE, modules=())
        report = check_prior(prior, data, data, batch_size=batch_size)
        assert report.ok
        assert max(seen) == batch_size
        assert report.error == pytest.approx(check_prior(prior, data, data).error)

    def test_large_events_come_in_small_batches_and_few_rows(self):
        """As the latents of pictures of 512 x 512 pixels: 2^20 elements at once."""
        seen = []

        def network(x_t, t, condition):
            seen.append(len(x_t))
            return 0.9 * x_t

        data = torch.randn(80, 4, 64, 64, generator=torch.Generator().manual_seed(0))
        report = check_prior(NetworkPrior(network, SCHEDULE), data)
        assert max(seen) * data[0].numel() <= 2**20
        assert report.rows == 64
        assert report.seconds > 0
        assert f"{report.rows} rows, " in str(report)


class TestReport:
    def test_plots_the_error_by_log_snr(self, tmp_path):
        pytest.importorskip("matplotlib")
        report = check_prior(EXACT, DATA)
        figure = report.plot(tmp_path / "error.png")
        assert (tmp_path / "error.png").stat().st_size > 1000
        prior, constant = figure.axes[0].lines
        assert tuple(prior.get_xdata()) == report.log_snr
        assert tuple(prior.get_ydata()) == report.error
        assert tuple(constant.get_ydata()) == report.constant

    def test_a_missing_matplotlib_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingDependencyError, match=r"scoreregs\[plot\]"):
            check_prior(EXACT, DATA).plot()

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
    with pytest.raises(PriorError, match=r"\(4096, 1\)"):
        check_prior(prior, DATA)
