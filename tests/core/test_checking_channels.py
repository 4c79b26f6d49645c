"""check_prior: a channel that is wrong by itself, and channels in another order."""

import pytest
import torch
from torch import Tensor

from scoreregs import (
    CosineSchedule,
    GaussianMixturePrior,
    NetworkPrior,
    VPSchedule,
    check_prior,
)
from tests.core.networks import ExactNetwork
from tests.core.test_checking import in_range, modes

SCHEDULE = VPSchedule()


def taken(*order: int):
    """Channels in an order."""
    return lambda x: x[:, list(order)]


def changed(channel: int, scale: float, shift: float = 0.0):
    """One channel mapped by itself."""

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, channel] = scale * x[:, channel] + shift
        return x

    return change


def gaussian() -> GaussianMixturePrior:
    """Three channels of different variances, hardly correlated."""
    covariance = torch.diag(torch.tensor([1.0, 0.3, 0.7]).double()) + 0.1
    return GaussianMixturePrior([1.0], [[0.2, -0.3, 0.5]], covariance[None], SCHEDULE)


class TestChannels:
    """A mistake of a channel is told apart from one of all the data, and from a schedule's."""

    @pytest.mark.parametrize(
        ("mistake", "named"),
        [
            (changed(1, 2.0), ["channel 1", "scaled by about 2:"]),
            (changed(3, 0.5), ["channel 3", "looks scaled by about 0."]),
            (changed(0, -1.0), ["channel 0", "negated"]),
            (changed(2, 1.0, 1.0), ["channel 2", "looks shifted by about 1:"]),
            (taken(1, 0, 2, 3), ["channels 0 and 1", "look swapped"]),
            (taken(1, 2, 3, 0), ["channels 0, 1, 2, 3", "in the order 3, 0, 1, 2"]),
            (taken(3, 2, 1, 0), ["channels 0 and 3, 1 and 2", "look swapped"]),
        ],
    )
    def test_of_few_are_named(self, mistake, named):
        data = in_range(-1, 1)[:300]
        report = check_prior(modes(-1, 1), mistake(data))
        assert not report.ok
        for words in named:
            assert words in str(report.cause), report.cause
        assert "; besides, " not in str(report.cause)
        assert report.reading is None
        assert report.ratio > 1.5

    def test_of_two_are_both_named(self):
        data = changed(0, 3.0)(changed(2, 0.5)(in_range(-1, 1)[:300]))
        cause = str(check_prior(modes(-1, 1), data).cause)
        assert "channel 0" in cause
        assert "channel 2" in cause
        assert cause.count("; besides, ") == 1

    def test_of_pictures_are_named(self):
        """As of a camera that has blue first, channels first or last."""
        generator = torch.Generator().manual_seed(5)
        means = torch.randn(3, 3, 1, generator=generator).double().expand(3, 3, 4).flatten(1)
        covariances = (0.01 * torch.eye(12).double()).expand(3, 12, 12)
        flat = GaussianMixturePrior([1 / 3] * 3, means, covariances, SCHEDULE)
        data = flat.draw(100, generator=generator).unflatten(1, (3, 2, 2)).float()

        def network(x_t, t, condition):
            first = x_t.movedim(-1, 1) if last else x_t
            epsilon = flat.epsilon(first.flatten(1).double(), t).reshape(first.shape).to(x_t)
            return epsilon.movedim(1, -1) if last else epsilon

        prior = NetworkPrior(network, SCHEDULE, modules=())
        for last, x in ((False, data.flip(1)), (True, data.flip(1).movedim(1, -1))):
            cause = str(check_prior(prior, x).cause)
            assert f"channels 0 and 2 of the data, along dimension {3 if last else 1}" in cause

    def test_a_scale_that_leaves_the_error_below_the_constant_is_not_ok(self):
        """An error that a wrong channel raises by 6 % is small, but is no chance."""
        prior = gaussian()
        data = prior.draw(1000, generator=torch.Generator().manual_seed(0)).float()
        assert check_prior(prior, data).ok
        report = check_prior(prior, changed(0, 0.5)(data))
        assert "channel 0 of the data, along dimension 1, looks scaled by" in str(report.cause)

    def test_a_schedule_is_not_a_channel(self):
        """Of a Gaussian another schedule looks much as another scale."""
        exact = GaussianMixturePrior(
            [1.0], [[0.2, -0.3]], torch.tensor([[[1.1, 0.1], [0.1, 0.4]]]), SCHEDULE
        )
        data = exact.draw(600, generator=torch.Generator().manual_seed(3)).float()
        for claimed in (VPSchedule(0.1, 5), CosineSchedule()):
            prior = NetworkPrior(ExactNetwork(exact, "sample"), claimed, "sample")
            report = check_prior(prior, data)
            assert "channel" not in str(report.cause)

    def test_a_heavy_tail_in_one_is_ok(self):
        """Which is easier to see where it is scaled."""
        scales = 0.2 * 3 ** torch.arange(8, dtype=torch.float64)
        weights = 1 / scales
        variances = torch.stack([scales, torch.full_like(scales, 0.5)], 1).square()
        prior = GaussianMixturePrior(
            weights / weights.sum(), torch.zeros(8, 2), torch.diag_embed(variances), SCHEDULE
        )
        data = prior.draw(2048, generator=torch.Generator().manual_seed(0))
        assert check_prior(prior, data).ok
