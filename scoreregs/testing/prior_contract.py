"""The contract of a score prior."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from scoreregs.baselines import NoBaseline, NoiseBaseline
from scoreregs.checking import check_prior
from scoreregs.kernel import diffuse, weighted_residual
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.predictions import expand
from scoreregs.prior import ScorePrior
from scoreregs.trees import Condition, leaves, map_tensors
from scoreregs.weightings import Sigma2, Uniform

__all__ = ["PriorContract"]

# Not a seed that data is likely to be drawn with: noise that equals the data is not noise.
_SEED = 7_310_522


class PriorContract(ABC):
    """What every `ScorePrior` keeps, abstract in `make_prior` and `make_data`.

    Attributes:
        times: where the prior is evaluated.
        tolerance: of comparisons, relative and absolute.
    """

    times: tuple[float, ...] = (0.05, 0.3, 0.6, 0.95)
    tolerance: float = 1e-4

    @abstractmethod
    def make_prior(self) -> ScorePrior:
        """Returns the prior under test."""

    @abstractmethod
    def make_data(self) -> tuple[Tensor, Condition]:
        """Returns data that the prior knows and its condition, or None.

        The data is (count, *event) with a count of at least 8, the condition batch first.
        """

    def _batch(self) -> tuple[Tensor, Condition, Tensor]:
        x, condition = self.make_data()
        generator = torch.Generator().manual_seed(_SEED)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return x[:8], map_tensors(lambda c: c[:8], condition), noise[:8]

    def _close(self, actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, rtol=self.tolerance, atol=self.tolerance)

    def test_keeps_shape_dtype_and_device(self) -> None:
        """Derived predictions are like x_t, in every floating dtype."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for derived in (prior.epsilon, prior.denoise, prior.score):
                output = derived(x.to(dtype), 0.5, condition)
                assert output.shape == x.shape
                assert output.dtype == dtype
                assert output.device == x.device

    def test_leaves_inputs_and_the_global_generator_alone(self) -> None:
        """Inputs are not written to, and no global random number is drawn."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        before = [x.clone(), *(leaf.clone() for leaf in leaves(condition))]
        state = torch.get_rng_state()
        prior.epsilon(x, 0.5, condition)
        for old, new in zip(before, [x, *leaves(condition)], strict=True):
            assert torch.equal(old, new)
        assert torch.equal(state, torch.get_rng_state())

    def test_is_deterministic(self) -> None:
        """Two evaluations give the same bits: dropout is off."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        first = prior.epsilon(x, 0.5, condition)
        assert torch.equal(first, prior.epsilon(x, 0.5, condition))

    def test_rows_do_not_see_each_other(self) -> None:
        """A sample's prediction does not depend on the rest of its batch."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        together = prior.epsilon(x, 0.5, condition)
        alone = prior.epsilon(x[:1], 0.5, map_tensors(lambda c: c[:1], condition))
        self._close(together[:1], alone)

    def test_each_sample_has_its_own_time(self) -> None:
        """A batch of times equals its times one by one."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        t = torch.linspace(self.times[0], self.times[-1], len(x), dtype=torch.float64)
        together = prior.epsilon(x, t, condition)
        for i in range(len(x)):
            row = slice(i, i + 1)
            self._close(
                together[row],
                prior.epsilon(x[row], float(t[i]), map_tensors(lambda c, r=row: c[r], condition)),
            )

    def test_predictions_agree_with_each_other(self) -> None:
        """x_t = alpha x_hat + sigma epsilon_hat, and the score is -epsilon_hat / sigma."""
        prior, (x, condition, noise) = self.make_prior(), self._batch()
        for t in self.times:
            level = prior.schedule.at(torch.full((len(x),), t))
            x_t = diffuse(x, noise, level)
            epsilon = prior.epsilon(x_t, t, condition)
            denoised = prior.denoise(x_t, t, condition)
            self._close(diffuse(denoised, epsilon, level), x_t)
            self._close(-expand(level.sigma, x) * prior.score(x_t, t, condition), epsilon)

    def test_residual_is_predicted_minus_true_noise(self) -> None:
        """The kernel's residual is epsilon_hat - epsilon; without a baseline, epsilon_hat."""
        prior, (x, condition, noise) = self.make_prior(), self._batch()
        for t in self.times:
            times = torch.full((len(x),), t)
            level = prior.schedule.at(times)
            epsilon = prior.epsilon(diffuse(x, noise, level), t, condition)
            with prior.evaluating():
                plain = weighted_residual(
                    prior, x, condition, times, noise, Uniform(), NoiseBaseline()
                )
                weighted = weighted_residual(
                    prior, x, condition, times, noise, Sigma2(), NoBaseline()
                )
            self._close(plain, epsilon - noise)
            self._close(weighted, expand(Sigma2()(level), x) * epsilon)

    def test_modes_and_gradients_are_left_as_found(self) -> None:
        """Evaluation is without gradient and in eval mode, whatever the networks' modes were."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        modules = [m for network in prior.networks() for m in network.modules()]
        for index, module in enumerate(modules):
            module.training = index % 2 == 0
        before = [p.requires_grad for module in modules for p in module.parameters()]
        output = prior.epsilon(x.clone().requires_grad_(), 0.5, condition)
        assert not output.requires_grad
        assert [m.training for m in modules] == [i % 2 == 0 for i in range(len(modules))]
        assert [p.requires_grad for m in modules for p in m.parameters()] == before

    def test_is_not_owned_by_an_objective(self) -> None:
        """An objective has none of the prior's parameters and gives them no gradient."""
        prior, (x, condition, _) = self.make_prior(), self._batch()
        objective = ScoreRegularizedObjective.from_value(None, prior)
        parameters = [p for network in prior.networks() for p in network.parameters()]
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        x = x.clone().requires_grad_()
        objective(x, condition).loss.backward()
        assert not list(objective.parameters())
        assert not objective.state_dict()
        assert x.grad is not None
        for parameter, old in zip(parameters, before, strict=True):
            torch.testing.assert_close(parameter.grad, old, rtol=0, atol=0)

    def test_knows_its_data(self) -> None:
        """`check_prior` finds the prior plugged in right."""
        report = check_prior(self.make_prior(), *self.make_data())
        assert report.ok, str(report)
