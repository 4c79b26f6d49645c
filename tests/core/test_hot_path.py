"""A call that checks no values reads nothing back from the device, whatever is plugged in."""

import sys
from collections import Counter
from types import FrameType

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scoreregs import NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import (
    PriorBaseline,
    ReferenceBaseline,
    ScoreIdentityBaseline,
    TrainedBaseline,
)
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.noisers import FixedNoise, InvertedNoise
from scoreregs.times import (
    AdaptiveTimes,
    AnnealedTimes,
    DensityTimes,
    DescendingTimes,
    ImportanceTimes,
    LogLogisticTimes,
    LogNormalTimes,
    LogSNRTimes,
    ShiftedTimes,
    UniformTimes,
)
from scoreregs.weightings import SampleWeighting, Sigma2

SCHEDULE = VPSchedule()
X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))


def prior() -> NetworkPrior:
    return NetworkPrior(lambda x_t, t, condition: x_t / 2, SCHEDULE)


def value(x: Tensor, condition: object) -> Tensor:
    return -x.square().sum(-1)


class Reads(TorchDispatchMode):
    """Counts operations, and those that read a tensor's value on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.reads = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        self.reads += func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
        )
        return func(*args, **(kwargs or {}))


def weighted(times: DensityTimes) -> dict[str, object]:
    return {"times": times, "weighting": times.weight}


# A row per plug-in.
OPTIONS = {
    "importance": weighted(ImportanceTimes(SCHEDULE, Sigma2())),
    "adaptive": weighted(AdaptiveTimes(Sigma2())),
    "default": {},
    "no baseline": {"baseline": "none"},
    "optimal noise": {"baseline": "optimal_noise"},
    "prior": {"baseline": PriorBaseline(prior())},
    "trained": {"baseline": TrainedBaseline(prior())},
    "reference": {"baseline": ReferenceBaseline(X)},
    "min-SNR": {"weighting": "min_snr"},
    "DMD": {"weighting": "dmd"},
    "of the sample": {
        "weighting": SampleWeighting(lambda level, x, d: x[:, 0] ** 2 + d[:, 0] ** 2)
    },
    "stratified": {"times": UniformTimes(points="stratified")},
    "low discrepancy": {"times": UniformTimes(points="low_discrepancy")},
    "log-SNR": {"times": LogSNRTimes(SCHEDULE, -4, 4)},
    "shifted": {"times": ShiftedTimes(3.0)},
    "score identity": {"baseline": ScoreIdentityBaseline(prior()), "through_prior": True},
    "log-normal": {"times": LogNormalTimes(SCHEDULE)},
    "log-logistic": {"times": LogLogisticTimes(SCHEDULE)},
    "through the prior": {"through_prior": True},
    "descending": {"times": DescendingTimes(9)},
    "annealed": {"times": AnnealedTimes((0.02, 0.98), (0.02, 0.5), 9)},
    "antithetic": {"noiser": "antithetic"},
    "fixed noise": {"noiser": FixedNoise(X)},
    "inverted": {"noiser": InvertedNoise(3)},
    "of the batch": {"normalize": "batch", "beta_on": "value"},
    "annealed beta": {"beta": AnnealedBeta(1.0, 0.1, 9)},
    "target beta": {"beta": TargetBeta([1.0, 1.5]), "members": 2},
}


def counted(objective: ScoreRegularizedObjective, **arguments) -> Reads:
    learns = isinstance(objective.beta, TargetBeta)
    data: dict = {"data": X} if learns else {}
    objective(X, **data)
    with Reads() as reads:
        objective(X, **data, **arguments)
    return reads


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_waits_for_no_device(options):
    objective = ScoreRegularizedObjective.from_value(value, prior(), draws=2, **options)
    assert counted(objective).reads == 0


def test_the_count_sees_a_read():
    """Diagnostics check values, for which they read."""
    objective = ScoreRegularizedObjective.from_value(value, prior())
    assert counted(objective, diagnostics=True).reads > 0


def test_what_is_not_plugged_in_costs_nothing():
    """The default takes 56 operations with torch 2.13; other versions may count a few more."""
    objective = ScoreRegularizedObjective.from_value(value, prior())
    assert counted(objective).operations <= 60


def test_a_step_makes_few_calls_in_python():
    """The default makes 90 of the library's own, the search for modules among them."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2)).eval()
    owned = NetworkPrior(lambda x_t, t: network(x_t), SCHEDULE, modules=[network])
    objective = ScoreRegularizedObjective.from_value(value, owned)
    objective(X)
    own: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("scoreregs."):
            own.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        objective(X)
    finally:
        sys.setprofile(None)
    assert len(own) <= 93, Counter(own)
