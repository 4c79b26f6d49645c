"""The kernel is one graph for torch.compile, and torch.func.vmap maps it, with every plug-in.

The plug-ins are found, not listed: a new one without a row fails `test_every_plug_in_has_a_row`.
"""

import ast
import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.fx.experimental.proxy_tensor import make_fx

import scoreregs
import scoreregs.baselines
import scoreregs.times
import scoreregs.weightings
from scoreregs import NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import (
    Baseline,
    NoBaseline,
    NoiseBaseline,
    OptimalNoiseBaseline,
    PriorBaseline,
    ReferenceBaseline,
    ScoreIdentityBaseline,
    TrainedBaseline,
)
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.errors import PriorError
from scoreregs.kernel import weighted_residual
from scoreregs.predictions import PREDICTIONS
from scoreregs.times import (
    AdaptiveTimes,
    AnnealedTimes,
    DensityTimes,
    DescendingTimes,
    FixedTime,
    ImportanceTimes,
    LogLogisticTimes,
    LogNormalTimes,
    LogSNRTimes,
    ShiftedTimes,
    TimeSampler,
    UniformTimes,
)
from scoreregs.weightings import (
    SNR,
    AlphaOverSigma,
    CustomWeighting,
    DMDWeighting,
    MinSNR,
    SampleWeighting,
    Sigma2,
    SigmaOverAlpha,
    Uniform,
    Weighting,
)
from tests.core.networks import TimedNetwork

SCHEDULE = VPSchedule()
BATCH, D = 6, 2
CPU = torch.device("cpu")
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, NOISE, REFERENCE = normal(BATCH, D), normal(BATCH, D, seed=1), normal(1, D, seed=2)
T = torch.linspace(0.1, 0.9, BATCH, dtype=torch.float64)


def prior(prediction: Any = "epsilon") -> NetworkPrior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NetworkPrior(TimedNetwork(D).eval(), SCHEDULE, prediction)


WEIGHTINGS: dict[type[Weighting], Callable[[], Weighting]] = {
    **{kind: kind for kind in (SNR, AlphaOverSigma, DMDWeighting, MinSNR, Sigma2)},
    **{kind: kind for kind in (SigmaOverAlpha, Uniform)},
    CustomWeighting: lambda: CustomWeighting(lambda level: level.sigma),
    SampleWeighting: lambda: SampleWeighting(
        lambda level, x, denoised: (x - denoised).abs().mean(1)
    ),
}
BASELINES: dict[type[Baseline], Callable[[], Baseline]] = {
    **{kind: kind for kind in (NoBaseline, NoiseBaseline, OptimalNoiseBaseline)},
    PriorBaseline: lambda: PriorBaseline(prior("sample")),
    ReferenceBaseline: lambda: ReferenceBaseline(REFERENCE),
    ScoreIdentityBaseline: lambda: ScoreIdentityBaseline(prior("sample")),
    TrainedBaseline: lambda: TrainedBaseline(prior()),
}
TIMES: dict[type[TimeSampler], Callable[[], TimeSampler]] = {
    UniformTimes: UniformTimes,
    FixedTime: lambda: FixedTime(0.3),
    LogSNRTimes: lambda: LogSNRTimes(SCHEDULE),
    ShiftedTimes: lambda: ShiftedTimes(3.0),
    LogNormalTimes: lambda: LogNormalTimes(SCHEDULE),
    LogLogisticTimes: lambda: LogLogisticTimes(SCHEDULE),
    DensityTimes: lambda: ImportanceTimes(SCHEDULE, Sigma2()),
    ImportanceTimes: lambda: ImportanceTimes(SCHEDULE, Sigma2(), points="stratified"),
    AdaptiveTimes: lambda: AdaptiveTimes(Sigma2(), points="low_discrepancy"),
    DescendingTimes: lambda: DescendingTimes(9),
    AnnealedTimes: lambda: AnnealedTimes((0.02, 0.98), (0.02, 0.5), 9),
}
ROWS: dict[str, Callable[[], Kernel]] = {}
# PyTorch 2.6 traces neither torch.autograd.grad nor vars(prior), where modules are searched for.
TRACES_ALL = hasattr(torch._dynamo.config, "trace_autograd_ops")
SEARCHING = {PriorBaseline, ReferenceBaseline, ScoreIdentityBaseline, TrainedBaseline}


def kernel_of(
    prediction="epsilon",
    weighting: Callable[[], Weighting] = Sigma2,
    baseline: Callable[[], Baseline] = NoiseBaseline,
) -> Kernel:
    its_prior, w, b = prior(prediction), weighting(), baseline()

    def kernel(x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return weighted_residual(its_prior, x, None, t, noise, w, b)

    return kernel


ROWS |= {f"prediction {name}": lambda name=name: kernel_of(name) for name in PREDICTIONS}
ROWS |= {
    f"{kind.__name__}, {name}": lambda make=make, name=name: kernel_of(name, make)
    for kind, make in WEIGHTINGS.items()
    for name in ("epsilon", "flow_prediction")
}
ROWS |= {
    kind.__name__: lambda make=make: kernel_of(baseline=make) for kind, make in BASELINES.items()
}


def test_types_are_asked_for_in_tuples() -> None:
    """What compiles with PyTorch 2.6 as well, which cannot trace `isinstance(x, int | float)`."""
    unions = [
        f"{path.name}:{node.lineno}"
        for path in Path(scoreregs.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and isinstance(node.args[1], ast.BinOp)
    ]
    assert not unions


def found_in(module, base: type) -> set[type]:
    # What `list[int]` is, Python 3.10 calls a class.
    kinds = (value for value in vars(module).values() if issubclass(type(value), type))
    return {kind for kind in kinds if issubclass(kind, base) and not inspect.isabstract(kind)}


def test_every_plug_in_has_a_row():
    assert found_in(scoreregs.weightings, Weighting) == set(WEIGHTINGS)
    assert found_in(scoreregs.baselines, Baseline) == set(BASELINES)
    assert found_in(scoreregs.times, TimeSampler) == set(TIMES) - {DensityTimes}


@pytest.fixture(autouse=True)
def no_graphs_of_other_tests():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(("name", "make"), ROWS.items(), ids=list(ROWS))
def test_one_graph(name, make):
    kernel = make()
    whole = TRACES_ALL or name not in {kind.__name__ for kind in SEARCHING}
    compiled = torch.compile(kernel, backend="aot_eager", fullgraph=whole)
    torch.testing.assert_close(compiled(X, T, NOISE), kernel(X, T, NOISE))


@pytest.mark.parametrize("make", ROWS.values(), ids=list(ROWS))
def test_maps(make):
    kernel = make()

    def one(x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return kernel(x[None], t[None], noise[None])[0]

    mapped = torch.func.vmap(one)(X, T, NOISE)
    torch.testing.assert_close(mapped, kernel(X, T, NOISE))


@pytest.mark.parametrize("make", TIMES.values(), ids=[kind.__name__ for kind in TIMES])
class TestTimes:
    def test_one_graph(self, make):
        times = make()
        compiled = torch.compile(
            lambda: times.sample(2, BATCH, CPU, None), backend="aot_eager", fullgraph=True
        )
        with torch.random.fork_rng():
            drawn = compiled()
        assert drawn.shape == (2, BATCH)
        assert drawn.dtype == torch.float64
        assert ((drawn >= times.low) & (drawn <= times.high)).all()

    def test_maps(self, make):
        times, kernel = make(), kernel_of()

        def one(x: Tensor, noise: Tensor) -> Tensor:
            t = times.sample(1, 1, CPU, None)[0]
            return kernel(x[None], t, noise[None])[0]

        with torch.random.fork_rng():
            mapped = torch.func.vmap(one, randomness="different")(X, NOISE)
        assert mapped.shape == X.shape
        assert mapped.isfinite().all()


def value(x: Tensor, condition: object) -> Tensor:
    return -x.square().sum(-1)


OBJECTIVES: dict[str, dict[str, Any]] = {
    "no value": {"value": None},
    "value": {},
    "value of the batch": {"normalize": "batch", "beta_on": "value"},
    "through the prior": {"through_prior": True},
    "budget": {"beta": TargetBeta(1.0)},
    "schedule": {"beta": AnnealedBeta(1.0, 0.1, 9)},
    "learning plug-ins": {"times": AdaptiveTimes(Sigma2()), "baseline": "optimal_noise"},
}


@pytest.mark.parametrize("options", OBJECTIVES.values(), ids=list(OBJECTIVES))
class TestObjective:
    """A call that checks no values is one graph; what it remembers is written as in eager mode."""

    def made(self, options) -> tuple[ScoreRegularizedObjective, Kernel]:
        options = {"value": value, **copy.deepcopy(options)}
        objective = ScoreRegularizedObjective.from_value(prior=prior(), **options)
        given = {"data": X + 1} if isinstance(objective.beta, TargetBeta) else {}

        def step(x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
            return objective(x, t=t, noise=noise, **given).gradient

        step(X, T, NOISE)
        return objective, step

    def check(self, options, transform: Callable[[Kernel], Kernel]) -> None:
        (ours, eager), (theirs, step) = self.made(options), self.made(options)
        torch.testing.assert_close(transform(step)(X, T, NOISE), eager(X, T, NOISE))
        for name, state in ours.state_dict().items():
            torch.testing.assert_close(theirs.state_dict()[name], state)

    def test_one_graph(self, options):
        """Or several, of a PyTorch that traces less."""
        if not TRACES_ALL and "through_prior" in options:
            pytest.skip("this torch has no torch.autograd.grad within a graph")

        def compiled(step: Kernel) -> Kernel:
            return torch.compile(step, backend="aot_eager", fullgraph=TRACES_ALL)

        with torch._dynamo.config.patch({"trace_autograd_ops": True} if TRACES_ALL else {}):
            self.check(options, compiled)

    def test_one_trace(self, options):
        """With the backward pass of the value in it, whatever torch.compile makes of that."""
        options = {"value": value, "times": 0.3, **copy.deepcopy(options)}
        objective = ScoreRegularizedObjective.from_value(prior=prior(), **options).eval()

        def step(x: Tensor, noise: Tensor) -> Tensor:
            return objective(x, noise=noise).gradient

        with torch.random.fork_rng():
            torch.manual_seed(0)
            step(X, NOISE)
            graph = make_fx(step)(X, NOISE)
            torch.manual_seed(0)
            expected = step(X, NOISE)
            torch.manual_seed(0)
            torch.testing.assert_close(graph(X, NOISE), expected)


def test_calls_share_their_graph_and_rows_that_are_not_finite_are_told():
    if not TRACES_ALL:
        pytest.skip("this torch has no torch.autograd.grad within a graph")
    objective = ScoreRegularizedObjective.from_value(value, prior(), times=0.3)
    objective(X)
    counter = CompileCounterWithBackend("aot_eager")
    with torch._dynamo.config.patch(trace_autograd_ops=True), torch.random.fork_rng():
        step = torch.compile(lambda x: objective(x).gradient, backend=counter, fullgraph=True)
        for _ in range(4):
            step(X)
        spoilt = step(torch.where(torch.arange(BATCH)[:, None] == 2, torch.nan, X))
        step(X)
    assert counter.frame_count <= 2  # one for the first call, before there is a count
    assert bool((spoilt[2] == 0).all())
    assert bool((spoilt[[0, 1, 3, 4, 5]] != 0).all())
    with pytest.raises(PriorError, match="in 1 rows of compiled calls"):
        objective(X, diagnostics=True)
    objective(X, diagnostics=True)
