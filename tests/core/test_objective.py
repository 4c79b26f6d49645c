"""ScoreRegularizedObjective: what it computes, what it draws and what it leaves alone."""

import copy
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from scoreregs import GaussianMixturePrior, NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import NoiseBaseline
from scoreregs.errors import ArgumentError, PriorError
from scoreregs.kernel import regularized_gradient, weighted_residual
from scoreregs.times import FixedTime, TimeSampler, UniformTimes
from scoreregs.weightings import Uniform

SCHEDULE = VPSchedule()
BATCH = 5


def mixture(*event: int) -> GaussianMixturePrior:
    size = torch.Size(event).numel()
    means = torch.stack([-torch.ones(size), torch.linspace(0.5, 1, size)]).reshape(2, *event)
    return GaussianMixturePrior([0.4, 0.6], means, 0.2 * torch.eye(size).repeat(2, 1, 1), SCHEDULE)


def sample(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(value=None, prior=None, seed: int = 0, **options) -> ScoreRegularizedObjective:
    options.setdefault("generator", torch.Generator().manual_seed(seed))
    return ScoreRegularizedObjective.from_value(value, prior or mixture(2), **options)


def quadratic(x: Tensor, condition) -> Tensor:
    return -(x - 0.5).square().flatten(1).sum(1)


X, NOISE = sample(BATCH, 2), sample(3, BATCH, 2, seed=1)
TIMES = torch.linspace(0.1, 0.9, 3 * BATCH, dtype=torch.float64).reshape(3, BATCH)


class TestBeta:
    """The table of `regularized_gradient`, entry by entry, by numbers worked out by hand."""

    G = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # norms 5 and 0, root mean squares 5 / sqrt(2) and 0
    R = torch.tensor([[1.0, -2.0], [1.0, -2.0]])
    BETA = 2.0

    @pytest.mark.parametrize(
        ("normalize", "beta_on", "expected", "for_zero"),
        [
            (None, "prior", [-3 + 0.5, -4 - 1.0], [0.5, -1.0]),
            ("l2", "prior", [-3 + 2.5, -4 - 5.0], [0.0, 0.0]),
            ("rms", "prior", [-3 + 2.5 / 2**0.5, -4 - 5 / 2**0.5], [0.0, 0.0]),
            (None, "value", [-6 + 1.0, -8 - 2.0], [1.0, -2.0]),
            ("l2", "value", [-1.2 + 1.0, -1.6 - 2.0], [1.0, -2.0]),
            ("rms", "value", [-1.2 * 2**0.5 + 1, -1.6 * 2**0.5 - 2], [1.0, -2.0]),
            ("batch", "prior", [-3 + 1.25, -4 - 2.5], [1.25, -2.5]),  # the mean norm is 2.5
            ("batch", "value", [-2.4 + 1.0, -3.2 - 2.0], [1.0, -2.0]),
            ("clipped", "value", [-1.2 + 1.0, -1.6 - 2.0], [1.0, -2.0]),
        ],
    )
    def test_forms(self, normalize, beta_on, expected, for_zero):
        actual = regularized_gradient(self.G, self.R, self.BETA, normalize, beta_on)
        torch.testing.assert_close(actual, torch.tensor([expected, for_zero]))

    @pytest.mark.parametrize("normalize", [None, "l2", "rms", "batch", "clipped"])
    def test_the_two_forms_point_the_same_way(self, normalize):
        g, r = sample(BATCH, 2, 2), sample(BATCH, 2, 2, seed=1)
        on_prior = regularized_gradient(g, r, 0.3, normalize, "prior").flatten(1)
        on_value = regularized_gradient(g, r, 0.3, normalize, "value").flatten(1)
        ratio = on_value / on_prior
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
        if normalize is None:
            torch.testing.assert_close(ratio, torch.full_like(ratio, 0.3))

    @pytest.mark.parametrize("beta_on", ["prior", "value"])
    @pytest.mark.parametrize("normalize", [None, "l2", "rms", "batch", "clipped"])
    def test_objective_uses_them(self, normalize, beta_on):
        options = {"normalize": normalize, "beta_on": beta_on, "beta": 0.3}
        t, noise = TIMES[0], NOISE[0]
        gradient = seeded(quadratic, **options)(X, t=t, noise=noise).gradient
        residual = seeded(None)(X, t=t, noise=noise).gradient
        expected = regularized_gradient(-2 * (X - 0.5), residual, 0.3, normalize, beta_on)
        torch.testing.assert_close(gradient, expected)

    def test_pure_distillation(self):
        residual = seeded(None)(X, t=TIMES[0], noise=NOISE[0]).gradient
        scaled = seeded(None, beta=0.25)(X, t=TIMES[0], noise=NOISE[0]).gradient
        torch.testing.assert_close(scaled, 4 * residual)
        on_value = seeded(None, beta=0.25, beta_on="value")(X, t=TIMES[0], noise=NOISE[0])
        torch.testing.assert_close(on_value.gradient, residual)

    def test_clipped_leaves_small_gradients_their_proportion(self):
        g = torch.tensor([[0.5], [1.0], [2.0], [-8.0], [1.5]])
        actual = regularized_gradient(g, torch.zeros(5, 1), 1.0, "clipped", "value")
        expected = -torch.tensor([[0.5 / 1.5], [1 / 1.5], [1.0], [-1.0], [1.0]])
        torch.testing.assert_close(actual, expected)

    @pytest.mark.parametrize("normalize", ["batch", "clipped"])
    @pytest.mark.parametrize("beta_on", ["prior", "value"])
    def test_each_member_has_its_own_statistic(self, beta_on, normalize):
        options = {"normalize": normalize, "beta_on": beta_on, "beta": 0.3}
        parts = [X, 20 * X - 1]
        stacked = seeded(quadratic, members=2, **options)(
            torch.cat(parts), t=TIMES.repeat(1, 2), noise=NOISE.repeat(1, 2, 1)
        )
        alone = [seeded(quadratic, **options)(x, t=TIMES, noise=NOISE).gradient for x in parts]
        torch.testing.assert_close(stacked.gradient, torch.cat(alone))

    @pytest.mark.parametrize("beta_on", ["prior", "value"])
    @pytest.mark.parametrize("normalize", [None, "l2", "rms"])
    def test_one_for_each_sample(self, normalize, beta_on):
        options = {"normalize": normalize, "beta_on": beta_on}
        objective = seeded(quadratic, **options)
        betas = torch.tensor([0.1, 0.5, 1.0, 2.0, 30.0])
        actual = objective(X, t=TIMES, noise=NOISE, beta=betas).gradient
        for row, beta in enumerate(betas.tolist()):
            alone = seeded(quadratic, beta=beta, **options)(X, t=TIMES, noise=NOISE).gradient
            torch.testing.assert_close(actual[row], alone[row], rtol=1e-6, atol=0)
        assert objective.beta == 1.0

    @pytest.mark.parametrize(
        ("beta", "message"),
        [
            (torch.ones(BATCH + 1), r"\(6,\)"),
            (torch.ones(BATCH, dtype=torch.int64), "floating point"),
            (torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]), "expected a number > 0"),
            (torch.tensor([1.0, 1.0, math.nan, 1.0, 1.0]), "expected a number > 0"),
            (0.5, "set objective.beta"),
            (torch.ones(BATCH, device="meta"), "on meta"),
        ],
    )
    def test_one_for_each_sample_refuses(self, beta, message):
        with pytest.raises(ArgumentError, match=message):
            seeded(quadratic)(X, beta=beta)

    def test_infinite_beta_never_calls_the_prior(self):
        def network(x_t, t, condition):
            raise AssertionError("called")

        objective = seeded(quadratic, NetworkPrior(network, SCHEDULE), beta=math.inf)
        state = torch.get_rng_state()
        torch.testing.assert_close(objective(X).gradient, 2 * (X - 0.5))
        assert torch.equal(torch.get_rng_state(), state)
        with pytest.raises(AssertionError, match="called"):
            seeded(quadratic, NetworkPrior(network, SCHEDULE), beta=1.0)(X)

    def test_may_change_between_calls(self):
        objective = seeded(quadratic, beta=1.0)
        for beta in (0.5, 2, math.inf):
            objective.beta = beta
            fresh = seeded(quadratic, beta=beta)
            arguments = {"t": TIMES[0], "noise": NOISE[0]}
            assert torch.equal(objective(X, **arguments).gradient, fresh(X, **arguments).gradient)


class TestDraws:
    def test_are_averaged(self):
        objective = seeded(quadratic)
        together = objective(X, t=TIMES, noise=NOISE).gradient
        single = [objective(X, t=t, noise=n).gradient for t, n in zip(TIMES, NOISE, strict=True)]
        torch.testing.assert_close(together, torch.stack(single).mean(0))

    def test_conditions_are_repeated_in_their_order(self):
        """Each sample keeps its own condition in every draw."""

        def network(x_t, t, condition):
            return condition["a"][0] * t[:, None].to(x_t.dtype)

        objective = seeded(None, NetworkPrior(network, SCHEDULE), weighting="uniform")
        condition = {"a": [sample(BATCH, 2, seed=3)], "b": (None,)}
        gradient = objective(X, condition, t=TIMES, noise=NOISE).gradient
        expected = condition["a"][0] * TIMES.float().double().mean(0)[:, None] - NOISE.mean(0)
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize(
        ("t", "noise", "draws"),
        [
            (None, None, 4),
            (0.3, None, 4),
            (torch.tensor(0.3), None, 4),
            (TIMES[0], None, 4),
            (TIMES, None, 3),
            (None, NOISE[0], 4),
            (None, NOISE, 3),
            (0.3, NOISE[0], 1),
            (TIMES[0], NOISE[0], 1),
            (TIMES[0], NOISE, 3),
            (TIMES, NOISE, 3),
        ],
        ids=str,
    )
    def test_number_of_draws(self, t, noise, draws):
        """The given arguments say how many; `draws` does where they leave it open."""
        diagnostics = seeded(None, draws=4)(X, t=t, noise=noise, diagnostics=True).diagnostics
        assert diagnostics is not None
        assert diagnostics.t is not None
        assert diagnostics.residual_norm is not None
        assert diagnostics.t.shape == diagnostics.residual_norm.shape == (draws, BATCH)

    def test_drawn_times_lie_in_the_range(self):
        for sampler, low, high in (
            (UniformTimes(0.2, 0.4), 0.2, 0.4),
            (FixedTime(0.3), 0.3, 0.3),
        ):
            t = sampler.sample(500, 20, torch.device("cpu"), torch.Generator().manual_seed(0))
            assert t.dtype == torch.float64
            assert low <= t.min().item() <= low + 0.01
            assert high - 0.01 <= t.max().item() <= high

    def test_a_sampler_of_your_own(self):
        class Fixed(TimeSampler):
            low, high = 0.1, 0.9

            def sample(self, draws, batch, device, generator):
                return TIMES

        own = seeded(None, times=Fixed(), draws=3)(X, noise=NOISE).gradient
        assert torch.equal(own, seeded(None)(X, t=TIMES, noise=NOISE).gradient)

    @pytest.mark.parametrize("baseline", ["noise", "none"])
    def test_given_noise_in_double_and_times_in_single_precision(self, baseline):
        objective = seeded(None, baseline=baseline)
        single = objective(X.float(), t=TIMES[0].float(), noise=NOISE[0]).gradient
        assert single.dtype == torch.float32
        torch.testing.assert_close(
            single.double(), objective(X, t=TIMES[0], noise=NOISE[0]).gradient, rtol=1e-4, atol=1e-5
        )


class TestReduction:
    def test_gradients(self):
        gradients, results = {}, {}
        for reduction in ("none", "mean", "sum"):
            x = X.clone().requires_grad_()
            results[reduction] = seeded(quadratic, reduction=reduction)(
                x, t=TIMES[0], noise=NOISE[0]
            )
            results[reduction].loss.sum().backward()
            gradients[reduction] = x.grad
        assert results["none"].loss.shape == (BATCH,)
        assert results["mean"].loss.shape == results["sum"].loss.shape == ()
        torch.testing.assert_close(gradients["sum"], results["sum"].gradient)
        torch.testing.assert_close(gradients["none"], gradients["sum"])
        torch.testing.assert_close(gradients["mean"], gradients["sum"] / BATCH)

    def test_event_is_summed(self):
        """Not averaged: a larger event does not weaken the prior."""
        x = sample(BATCH, 3, 4).requires_grad_()
        result = seeded(None, mixture(3, 4))(x, t=0.4, noise=sample(BATCH, 3, 4, seed=1))
        result.loss.backward()
        torch.testing.assert_close(x.grad, result.gradient / BATCH)


class TestRandomness:
    def test_a_seed_gives_the_same_bits(self):
        first, second = seeded(quadratic, seed=5), seeded(quadratic, seed=5)
        assert torch.equal(first(X).gradient, second(X).gradient)
        assert torch.equal(first(X).gradient, second(X).gradient)
        assert not torch.equal(first(X).gradient, seeded(quadratic, seed=6)(X).gradient)

    def test_the_global_generator_is_left_alone_where_one_is_given(self):
        state = torch.get_rng_state()
        seeded(quadratic, draws=3)(X)
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_global_generator_is_used_where_none_is_given(self):
        objective = seeded(None, generator=None)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            first = objective(X).gradient
            assert not torch.equal(objective(X).gradient, first)
            torch.manual_seed(3)
            assert torch.equal(objective(X).gradient, first)


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, x, condition):
        return self.layers(torch.cat([x, condition], 1)).squeeze(-1)


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(2, 2).double(), nn.Dropout(0.5)

    def forward(self, x_t, t, condition):
        return self.dropout(self.layer(x_t))


class TestLeavesAlone:
    def test_inputs(self):
        inputs = {"x": X.clone(), "c": X.clone(), "t": TIMES.clone(), "n": NOISE.clone()}
        before = {name: tensor.clone() for name, tensor in inputs.items()}
        seeded(quadratic)(inputs["x"], inputs["c"], t=inputs["t"], noise=inputs["n"])
        for name, tensor in before.items():
            assert torch.equal(inputs[name], tensor), name
            assert not inputs[name].requires_grad

    def test_parameters_of_value_and_prior(self):
        critic, network = Critic(), Denoiser()
        objective = seeded(critic, NetworkPrior(network, SCHEDULE))
        x = X.clone().requires_grad_()
        objective(x, X).loss.backward()
        assert x.grad is not None
        assert all(p.grad is None for m in (critic, network) for p in m.parameters())
        assert all(p.requires_grad for m in (critic, network) for p in m.parameters())

    def test_what_it_does_not_own(self):
        objective = seeded(Critic(), NetworkPrior(Denoiser(), SCHEDULE))
        assert not list(objective.parameters())
        assert not list(objective.children())
        assert not objective.state_dict()
        objective.load_state_dict({})

    def test_modes(self):
        network = Denoiser().train()
        objective = seeded(None, NetworkPrior(network, SCHEDULE))
        first = objective(X, t=TIMES[0], noise=NOISE[0]).gradient
        assert torch.equal(first, objective(X, t=TIMES[0], noise=NOISE[0]).gradient)
        assert network.training
        assert network.dropout.training
        network.dropout.eval()
        objective(X)
        assert network.training
        assert not network.dropout.training

    def test_modes_after_an_exception_in_the_network(self):
        network = Denoiser().train()
        objective = seeded(None, NetworkPrior(network, SCHEDULE))
        network.layer.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            objective(X)
        assert all(module.training for module in network.modules())
        assert torch.is_grad_enabled()

    def test_a_deep_copy_is_independent(self):
        objective = seeded(Critic(), NetworkPrior(Denoiser(), SCHEDULE), beta=0.5)
        twin = copy.deepcopy(objective)
        twin.beta = 2.0
        assert objective.beta == 0.5
        arguments = {"t": TIMES[0], "noise": NOISE[0]}
        twin.beta = 0.5
        assert torch.equal(twin(X, X, **arguments).gradient, objective(X, X, **arguments).gradient)


class TestMonitoring:
    def test_under_no_grad(self):
        with torch.no_grad():
            result = seeded(quadratic)(X, t=TIMES[0], noise=NOISE[0])
        assert not result.loss.requires_grad
        expected = seeded(quadratic)(X, t=TIMES[0], noise=NOISE[0])
        assert torch.equal(result.gradient, expected.gradient)

    def test_pure_distillation_in_inference_mode(self):
        with torch.inference_mode():
            result = seeded(None)(X, t=TIMES[0], noise=NOISE[0])
        assert torch.equal(result.gradient, seeded(None)(X, t=TIMES[0], noise=NOISE[0]).gradient)

    def test_result(self):
        x = X.clone().requires_grad_()
        result = seeded(quadratic)(x)
        assert result.value is not None
        assert torch.equal(result.value, quadratic(X, None))
        assert not result.value.requires_grad
        assert not result.gradient.requires_grad
        assert result.diagnostics is None
        torch.testing.assert_close(result.loss, (X * result.gradient).sum(1).mean())
        assert seeded(None)(x).value is None

    def test_diagnostics(self):
        x = X.clone().requires_grad_()
        t = TIMES.clone().requires_grad_()
        result = seeded(quadratic)(x, t=t, noise=NOISE, diagnostics=True)
        residuals = torch.stack(
            [
                seeded(None)(X, t=time, noise=noise).gradient
                for time, noise in zip(TIMES, NOISE, strict=True)
            ]
        )
        g, r = -2 * (X - 0.5), residuals.mean(0)
        cosine = (g * -r).sum(1) / (g.norm(dim=1) * r.norm(dim=1))
        expected = {
            "value_gradient_norm": g.norm(dim=1),
            "prior_gradient_norm": r.norm(dim=1),
            "cosine": cosine,
            "t": TIMES,
            "residual_norm": residuals.norm(dim=2),
        }
        for name, tensor in expected.items():
            actual = getattr(result.diagnostics, name)
            torch.testing.assert_close(actual, tensor)
            assert not actual.requires_grad

    def test_diagnostics_without_one_of_the_forces(self):
        for value, objective in (
            (None, seeded(None)),
            (quadratic, seeded(quadratic, beta=math.inf)),
        ):
            diagnostics = objective(X, diagnostics=True).diagnostics
            assert diagnostics is not None
            assert diagnostics.cosine is None
            assert (diagnostics.value_gradient_norm is None) == (value is None)
            assert (diagnostics.prior_gradient_norm is None) == (objective.beta == math.inf)
            assert (diagnostics.t is None) == (diagnostics.residual_norm is None)


class TestValue:
    def test_a_subclass(self):
        class Reach(ScoreRegularizedObjective):
            def value(self, x, condition):
                return quadratic(x, condition)

        own = Reach(mixture(2))(X, t=TIMES[0], noise=NOISE[0])
        assert torch.equal(own.gradient, seeded(quadratic)(X, t=TIMES[0], noise=NOISE[0]).gradient)

    def test_is_differentiated_at_a_detached_x(self):
        """The gradient that reaches a policy is the objective's alone, once."""
        weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        result = seeded(quadratic)(weight * X, t=TIMES[0], noise=NOISE[0])
        result.loss.backward()
        torch.testing.assert_close(weight.grad, (X * result.gradient).sum() / BATCH)

    def test_gets_the_condition(self):
        condition = {"goal": X + 1, "nested": [(X,), None]}
        objective = seeded(lambda x, c: ((x - c["goal"]) * c["nested"][0][0]).sum(-1), beta=1e9)
        torch.testing.assert_close(objective(X, condition).gradient, -X, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("event", [(1,), (3,), (1, 4, 4), (2, 1, 2)])
def test_event_shapes(event):
    x = sample(BATCH, *event).requires_grad_()
    result = seeded(quadratic, mixture(*event), draws=2)(x, diagnostics=True)
    result.loss.backward()
    assert x.grad is not None
    assert x.grad.shape == result.gradient.shape == x.shape
    assert result.diagnostics is not None
    assert result.diagnostics.residual_norm is not None
    assert result.diagnostics.residual_norm.shape == (2, BATCH)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """The residual is computed in float32 and rounded once."""
    x, noise, t = X.to(dtype), NOISE[0].to(dtype), 1e-3
    half = seeded(quadratic)(x.clone().requires_grad_(), t=t, noise=noise)
    assert half.gradient.dtype == dtype
    assert half.loss.dtype == torch.float32
    exact = seeded(quadratic)(x.double(), t=t, noise=noise.double()).gradient
    torch.testing.assert_close(half.gradient.double(), exact, rtol=0.02, atol=0.02)
    # Near the noise end the residual is a small difference, which a half type would round away.
    residual = seeded(None, weighting="uniform")(x, t=0.95, noise=noise).gradient
    expected = seeded(None, weighting="uniform")(x.double(), t=0.95, noise=noise.double()).gradient
    torch.testing.assert_close(residual.double(), expected, rtol=0.005, atol=0)


def test_vmap_over_the_pure_kernel():
    """The kernel has no state and no checks of values, so that torch.func maps it."""
    prior = mixture(2)

    def one(x, t, noise):
        return weighted_residual(
            prior, x[None], None, t[None], noise[None], Uniform(), NoiseBaseline()
        )[0]

    mapped = torch.func.vmap(one)(X, TIMES[0], NOISE[0])
    together = weighted_residual(prior, X, None, TIMES[0], NOISE[0], Uniform(), NoiseBaseline())
    torch.testing.assert_close(mapped, together)
    draws = torch.func.vmap(
        lambda t, n: weighted_residual(prior, X, None, t, n, Uniform(), NoiseBaseline())
    )(TIMES, NOISE)
    torch.testing.assert_close(draws[0], together)


def test_values_are_checked_at_the_first_call_that_evaluates_the_prior() -> None:
    def broken(x_t: Tensor, t: Tensor, condition: object) -> Tensor:
        return torch.full_like(x_t, float("nan"))

    prior = NetworkPrior(broken, VPSchedule())
    objective = ScoreRegularizedObjective.from_value(
        lambda x, c: x.sum(-1), prior, beta=float("inf")
    )
    x = torch.zeros(2, 1, requires_grad=True)
    objective(x)
    objective.beta = 1.0
    with pytest.raises(PriorError, match="NaN or infinity"):
        objective(x)


def test_a_gradient_beyond_half_precision_is_an_error() -> None:
    prior = NetworkPrior(lambda x_t, t, condition: torch.tanh(x_t), VPSchedule())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).half()
    objective = ScoreRegularizedObjective.from_value(
        lambda x, c: -(x.float() - 3).square().flatten(1).sum(1), prior, beta=1e-5
    )
    with pytest.raises(ArgumentError, match="beyond the range"):
        objective(x)


def test_the_loss_of_half_precision_is_summed_in_single() -> None:
    prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
    objective = ScoreRegularizedObjective.from_value(
        lambda x, c: -(x.float() - 30).square().flatten(1).sum(1), prior, beta=float("inf")
    )
    x = torch.full((1, 3, 64, 64), -9.0).half().requires_grad_()
    result = objective(x)
    assert bool(result.loss.isfinite())
    result.loss.backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float16
    torch.testing.assert_close(x.grad, result.gradient)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()
        self.modes: list[bool] = []

    def forward(self, x_t: Tensor, t: Tensor, condition: object, scale: float = 1.0) -> Tensor:
        self.modes.append(self.training)
        return scale * self.layer(x_t)


@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: m.forward, lambda m: functools.partial(m, scale=2.0)]
)
def test_a_wrapped_network_is_found(wrap: Callable[[nn.Module], Callable[..., Tensor]]) -> None:
    network = Dropping().train()
    prior = NetworkPrior(wrap(network), VPSchedule())
    assert prior.epsilon(torch.zeros(3, 2), 0.5).dtype == torch.float32
    assert network.modes == [False]
    assert network.training


def test_a_named_tuple_stays_one() -> None:
    class Prompt(NamedTuple):
        text: Tensor
        label: Tensor

    def network(x_t: Tensor, t: Tensor, condition: Prompt) -> Tensor:
        return x_t * condition.label[:, None]

    objective = ScoreRegularizedObjective.from_value(
        None, NetworkPrior(network, VPSchedule()), draws=2
    )
    condition = Prompt(torch.ones(4, 3), torch.ones(4))
    assert bool(objective(torch.zeros(4, 2), condition).loss.isfinite())
