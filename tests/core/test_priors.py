"""A table of priors through the contract, and priors that break it."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreregs import GaussianMixturePrior, NetworkPrior, ScorePrior, VPSchedule
from scoreregs.errors import ArgumentError, PriorError
from scoreregs.predictions import Epsilon, PredictionLike
from scoreregs.testing import PriorContract
from scoreregs.trees import leaves
from tests.core.networks import PREDICTIONS, ExactNetwork

SCHEDULE = VPSchedule()


def mixture(*event: int) -> GaussianMixturePrior:
    size = torch.Size(event).numel()
    means = torch.stack([torch.linspace(-1, 0.5, size), torch.linspace(0.8, -0.4, size)])
    factor = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0)).double()
    covariances = 0.2 * torch.eye(size) + 0.1 * factor @ factor.mT / size
    return GaussianMixturePrior([0.4, 0.6], means.reshape(2, *event), covariances, SCHEDULE)


def around(condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two modes at a distance from each condition of shape (batch, 2)."""
    means = torch.stack([condition - 0.7, condition + 0.7], dim=1)
    covariances = (0.1 * torch.eye(2)).expand(len(condition), 2, 2, 2)
    return torch.tensor([0.3, 0.7]).expand(len(condition), 2), means, covariances


def conditional() -> GaussianMixturePrior:
    return GaussianMixturePrior.conditional(around, SCHEDULE)


@dataclass(frozen=True)
class Row:
    """A prior and the closed form that its data is drawn from."""

    make: Callable[[], ScorePrior]
    data: GaussianMixturePrior
    conditional: bool = False
    tolerance: float = 1e-4


def network_row(prediction, dtype=torch.float32, tolerance=1e-4, event=(2,)) -> Row:
    closed_form = mixture(*event)
    return Row(
        lambda: NetworkPrior(ExactNetwork(closed_form, prediction, dtype), SCHEDULE, prediction),
        closed_form,
        tolerance=tolerance,
    )


PRIORS = {
    "mixture (1,)": Row(lambda: mixture(1), mixture(1)),
    "mixture (3,)": Row(lambda: mixture(3), mixture(3)),
    "mixture (1, 4, 4)": Row(lambda: mixture(1, 4, 4), mixture(1, 4, 4)),
    "mixture, conditional": Row(conditional, conditional(), conditional=True),
    **{f"network, {name}": network_row(name) for name in PREDICTIONS},
    "network (1, 4, 4)": network_row("v_prediction", event=(1, 4, 4)),
    "network, float64": network_row("sample", torch.float64),
    "network, bfloat16": network_row("epsilon", torch.bfloat16, 0.02),
    "network, conditional": Row(
        lambda: NetworkPrior(ExactNetwork(conditional(), "epsilon"), SCHEDULE),
        conditional(),
        conditional=True,
    ),
}


def draw(row: Row, count: int = 512) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    condition = torch.randn(count, 2, generator=generator) if row.conditional else None
    return row.data.draw(count, condition, generator).float(), condition


class TestContract(PriorContract):
    @pytest.fixture(autouse=True, params=PRIORS.values(), ids=list(PRIORS))
    def row(self, request):
        self._row = request.param
        self.tolerance = self._row.tolerance

    def make_prior(self):
        return self._row.make()

    def make_data(self):
        return draw(self._row)


@pytest.mark.parametrize("row", PRIORS.values(), ids=list(PRIORS))
def test_agrees_with_the_closed_form(row):
    """Noise, score and posterior mean are those of the closed form, whatever the network returns.

    The tolerance leaves room for scores, divided by sigma > 0.17, and means, by alpha > 0.08.
    """
    x, condition = draw(row, 8)
    for t in (0.05, 0.4, 0.7):
        prior = row.make()
        for name in ("epsilon", "denoise", "score"):
            torch.testing.assert_close(
                getattr(prior, name)(x, t, condition),
                getattr(row.data, name)(x, t, condition),
                rtol=10 * row.tolerance,
                atol=10 * row.tolerance,
            )


class Gaussian(ScorePrior):
    """N(0, I) through a network with dropout: keeps the contract, the base of those that do not."""

    def __init__(self, prediction: PredictionLike = "epsilon"):
        super().__init__(SCHEDULE, prediction)
        linear = nn.Linear(2, 2, bias=False)
        nn.init.eye_(linear.weight)
        self.network = nn.Sequential(linear, nn.Dropout(0.5))

    def noise(self, x_t, t):
        sigma = self.schedule(t)[1].to(x_t.dtype)[:, None]
        return sigma * self.network(x_t.float()).to(x_t.dtype)

    def predict(self, x_t, t, condition=None):
        return self.noise(x_t, t)


class WritesToItsInput(Gaussian):
    def predict(self, x_t, t, condition=None):
        output = self.noise(x_t, t)
        x_t += 1
        return output


class WritesToItsCondition(Gaussian):
    def predict(self, x_t, t, condition=None):
        for leaf in leaves(condition):
            leaf.zero_()
        return self.noise(x_t, t)


class DrawsGlobalNumbers(Gaussian):
    def predict(self, x_t, t, condition=None):
        return self.noise(x_t, t) + 0 * torch.rand(())


class IsRandom(Gaussian):
    def predict(self, x_t, t, condition=None):
        return self.noise(x_t, t) * torch.rand(())


class SeesTheBatch(Gaussian):
    def predict(self, x_t, t, condition=None):
        return self.noise(x_t - 0.1 * x_t.mean(0), t)


class UsesTheFirstTime(Gaussian):
    def predict(self, x_t, t, condition=None):
        return self.noise(x_t, t[:1].expand(len(t)))


class KeepsTrainMode(Gaussian):
    def networks(self):
        return iter(())


class LeavesEvalMode(Gaussian):
    def predict(self, x_t, t, condition=None):
        for module in self.network.modules():
            module.training = False
        return self.noise(x_t, t)

    @contextmanager
    def evaluating(self):
        with torch.no_grad():
            yield


class KeepsTheGraph(Gaussian):
    @contextmanager
    def evaluating(self):
        self.network.eval()
        yield


class FreezesItsNetwork(Gaussian):
    def predict(self, x_t, t, condition=None):
        self.network.requires_grad_(False)
        return self.noise(x_t, t)


class WrongScore(Gaussian):
    def score(self, x_t, t, condition=None):
        return -super().score(x_t, t, condition)


class WrongType(Gaussian):
    def __init__(self):
        super().__init__("sample")


class WrongSign(Gaussian):
    def predict(self, x_t, t, condition=None):
        return -self.noise(x_t, t)


class WrongNativeResidual(Gaussian):
    """A prediction type whose kernel and conversion disagree."""

    class Doubled(Epsilon):
        def log_factor(self, level, schedule):
            return super().log_factor(level, schedule) + 0.7

    def __init__(self):
        super().__init__(self.Doubled())


class TrainsThroughItsLoss(Gaussian):
    """A prior whose evaluation leaves gradients on its network."""

    def predict(self, x_t, t, condition=None):
        with torch.enable_grad():
            self.noise(x_t.detach(), t).sum().backward()
        return self.noise(x_t, t)


class UpcastsItsOutput(Gaussian):
    def epsilon(self, x_t, t, condition=None):
        return super().epsilon(x_t, t, condition).double()


BREACHES = {
    WritesToItsInput: "test_leaves_inputs_and_the_global_generator_alone",
    WritesToItsCondition: "test_leaves_inputs_and_the_global_generator_alone",
    DrawsGlobalNumbers: "test_leaves_inputs_and_the_global_generator_alone",
    IsRandom: "test_is_deterministic",
    KeepsTrainMode: "test_is_deterministic",
    SeesTheBatch: "test_rows_do_not_see_each_other",
    UsesTheFirstTime: "test_each_sample_has_its_own_time",
    LeavesEvalMode: "test_modes_and_gradients_are_left_as_found",
    KeepsTheGraph: "test_modes_and_gradients_are_left_as_found",
    FreezesItsNetwork: "test_modes_and_gradients_are_left_as_found",
    TrainsThroughItsLoss: "test_is_not_owned_by_an_objective",
    WrongScore: "test_predictions_agree_with_each_other",
    WrongNativeResidual: "test_residual_is_predicted_minus_true_noise",
    WrongType: "test_knows_its_data",
    WrongSign: "test_knows_its_data",
    UpcastsItsOutput: "test_keeps_shape_dtype_and_device",
}


class GaussianContract(PriorContract):
    kind: type[Gaussian] = Gaussian

    def make_prior(self):
        return self.kind()

    def make_data(self):
        data = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
        return data, torch.ones(512, 1)


def clauses() -> list[str]:
    return [name for name in dir(PriorContract) if name.startswith("test_")]


@pytest.mark.parametrize("clause", clauses())
def test_the_base_of_the_breaches_keeps_the_contract(clause):
    getattr(GaussianContract(), clause)()


@pytest.mark.parametrize(
    ("kind", "clause"), BREACHES.items(), ids=[kind.__name__ for kind in BREACHES]
)
def test_the_contract_catches_a_breach(kind, clause):
    contract = GaussianContract()
    contract.kind = kind
    with pytest.raises((AssertionError, PriorError)):
        getattr(contract, clause)()


def test_every_clause_is_broken_by_some_prior():
    assert set(BREACHES.values()) == set(clauses())


class TestNetworks:
    """Every module that a prior may hold is found, put in eval mode and back."""

    @staticmethod
    def holders() -> dict[str, ScorePrior]:
        class InList(Gaussian):
            def __init__(self):
                super().__init__()
                self.experts = [nn.Dropout(0.5), {"more": nn.Dropout(0.5)}]

            def predict(self, x_t, t, condition=None):
                return self.experts[0](self.experts[1]["more"](x_t))

        class Wrapping(ScorePrior):
            def __init__(self):
                super().__init__(SCHEDULE)
                self.wrapped = (InList(),)

            def predict(self, x_t, t, condition=None):
                return self.wrapped[0].predict(x_t, t, condition)

        class IsModule(nn.Module, ScorePrior):
            def __init__(self):
                nn.Module.__init__(self)
                ScorePrior.__init__(self, SCHEDULE)
                self.dropout = nn.Dropout(0.5)

            def predict(self, x_t, t, condition=None):
                assert not self.training
                return self.dropout(x_t)

        return {"list": InList(), "wrapping": Wrapping(), "module": IsModule()}

    @pytest.mark.parametrize("kind", ["list", "wrapping", "module"])
    def test_are_found(self, kind):
        prior = self.holders()[kind]
        x = torch.ones(1, 64)
        assert torch.equal(prior.epsilon(x, 0.5), x)
        modules = [m for network in prior.networks() for m in network.modules()]
        assert modules
        assert all(module.training for module in modules)

    def test_modes_come_back_after_an_exception(self):
        class Failing(nn.Module):
            def forward(self, x_t, t, condition):
                raise RuntimeError("out of memory")

        network = nn.Sequential(Failing())
        network[0].training = False
        with pytest.raises(RuntimeError, match="out of memory"):
            NetworkPrior(network[0], SCHEDULE).epsilon(torch.ones(1, 2), 0.5)
        network.train()
        with pytest.raises(RuntimeError, match="out of memory"):
            NetworkPrior(network[0], SCHEDULE).epsilon(torch.ones(1, 2), 0.5)
        assert network[0].training


class TestTimeMap:
    def test_gets_float64_and_may_return_integers(self):
        seen = []

        def network(x_t, t, condition):
            seen.append(t)
            return x_t

        def steps(t):
            assert t.dtype == torch.float64
            return (t * 50).round().long().clamp(min=1) - 1

        table = (torch.arange(50) + 1) / 50  # float32, as callers have it
        NetworkPrior(network, SCHEDULE, time_map=steps).epsilon(torch.ones(50, 1), table)
        assert torch.equal(seen[0], torch.arange(50))

    def test_must_return_a_tensor(self):
        def five(t) -> Any:
            return 5

        prior = NetworkPrior(lambda x_t, t, condition: x_t, SCHEDULE, time_map=five)
        with pytest.raises(ArgumentError, match="time_map"):
            prior.epsilon(torch.ones(1, 1), 0.5)

    def test_casts_the_conditions_floating_tensors_only(self):
        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

            def forward(self, x_t, t, condition):
                assert condition["a"].dtype == torch.bfloat16
                assert condition["b"].dtype == torch.int64
                assert condition["c"] is None
                return x_t

        network = Network()
        condition = {"a": torch.ones(1, 1), "b": torch.ones(1, dtype=torch.int64), "c": None}
        prior = NetworkPrior(network, SCHEDULE)
        assert prior.epsilon(torch.ones(1, 1), 0.5, condition).dtype == torch.float32


def test_a_python_time_is_used_in_double_precision():
    prior = mixture(1)
    x = torch.full((1, 1), 0.3, dtype=torch.float64)
    exact = prior.score(x, torch.tensor(0.3, dtype=torch.float64))
    assert torch.equal(prior.score(x, 0.3), exact)


@pytest.mark.parametrize("t", [500, -0.1, float("nan")])
def test_times_outside_the_unit_interval_are_refused(t):
    with pytest.raises(ArgumentError, match="expected them in"):
        mixture(1).score(torch.zeros(1, 1), t)
