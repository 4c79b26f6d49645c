"""Linear combinations and products of priors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self, override

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.predictions import Prediction, expand
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.priors.guided import Coefficient, check_coefficient, coefficient_at
from scoreregs.priors.matched import as_matched
from scoreregs.trees import Condition, check_condition, concatenate, repeat_rows

__all__ = ["CombinedPrior", "Term"]


@named_calls
@dataclass(frozen=True)
class Term:
    """A prediction in a combination.

    Attributes:
        prior: the prior.
        coefficient: a number, or a function of the `NoiseLevel` that returns (batch,).
        condition: what the prior is called with, a batch of 1 or the batch's; by default what the
            combination is called with.
    """

    prior: ScorePrior
    coefficient: Coefficient = 1.0
    condition: Condition = None

    def __post_init__(self) -> None:
        check_prior_type(self.prior)
        check_coefficient("coefficient", self.coefficient)
        check_condition(self.condition)


@named_calls
class CombinedPrior(ScorePrior):
    r"""A linear combination of noise predictions, that is of scores.

    $$ \hat\epsilon(x_t \mid c, t) = \sum_i a_i(t)\, \hat\epsilon_i(x_t \mid c_i, t) $$

    Constant coefficients that sum to one combine priors of one prediction type natively; otherwise
    each is converted to noise. Priors on other schedules are matched to the first one's at equal
    log-SNR. Terms that share a prior share one batched call.

    Args:
        terms: the terms, at least one.

    Raises:
        ArgumentError: without terms, or for one that is not a `Term`.

    Example:
        >>> from scoreregs import NetworkPrior, VPSchedule
        >>> prior = NetworkPrior(lambda x_t, t, condition: condition, VPSchedule())
        >>> negative = torch.tensor([[1.0, 0.0]])
        >>> combined = CombinedPrior([Term(prior, 2.0), Term(prior, -1.0, negative)])
        >>> combined.epsilon(torch.ones(1, 2), 0.5, torch.tensor([[3.0, 3.0]]))
        tensor([[5., 6.]])
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        if not isinstance(terms, Sequence) or isinstance(terms, str):
            raise ArgumentError(
                f"got terms of type {type(terms).__name__}, expected a list of Term(prior, "
                "coefficient)"
            )
        terms = tuple(terms)
        if not terms or not all(isinstance(term, Term) for term in terms):
            raise ArgumentError(
                f"got terms {[type(term).__name__ for term in terms]}, expected at least one Term: "
                "write Term(prior, coefficient)"
            )
        schedule = terms[0].prior.schedule
        unique = {id(term.prior): as_matched(term.prior, schedule) for term in terms}
        priors = [unique[id(term.prior)] for term in terms]
        native = _sum_to_one(terms) and all(
            _same(prior.prediction, priors[0].prediction) for prior in priors
        )
        super().__init__(schedule, priors[0].prediction if native else "epsilon")
        self._terms = terms
        self._priors = priors

    @classmethod
    @named_calls
    def product(
        cls, priors: Sequence[ScorePrior], exponents: Sequence[Coefficient] | None = None
    ) -> Self:
        r"""Returns the product of experts $\prod_i p_{t,i}(x_t)^{a_i}$, whose scores add up.

        The product is that of the diffused densities, which at t > 0 is not the diffused product.

        Args:
            priors: the experts.
            exponents: a_i, one by default.

        Raises:
            ArgumentError: unless there are as many exponents as priors.

        Example:
            >>> from scoreregs import GaussianMixturePrior, VPSchedule
            >>> one = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
            >>> CombinedPrior.product([one, one]).score(torch.ones(1, 1), 0.5)
            tensor([[-2.]])
        """
        for each in (priors, [] if exponents is None else exponents):
            if not isinstance(each, Sequence) or isinstance(each, str):
                raise ArgumentError(
                    f"got {type(each).__name__}, expected a list of priors and one of exponents"
                )
        exponents = [1.0] * len(priors) if exponents is None else exponents
        if len(exponents) != len(priors):
            raise ArgumentError(
                f"got {len(exponents)} exponents for {len(priors)} priors, expected one for each"
            )
        return cls([Term(prior, a) for prior, a in zip(priors, exponents, strict=True)])

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        level = self.schedule.at(t)
        total = torch.zeros_like(x_t)
        for index, output in self._outputs(x_t, t, condition).items():
            prediction = self._priors[index].prediction
            if not _same(prediction, self.prediction):
                output = prediction.epsilon(output, x_t, level, self.schedule)
            coefficient = coefficient_at(self._terms[index].coefficient, level)
            total = total + expand(coefficient, x_t) * output
        return total

    def _outputs(self, x_t: Tensor, t: Tensor, condition: Condition) -> dict[int, Tensor]:
        """Returns the output of each term by its index, with one call for each prior."""
        batch, outputs = len(x_t), {}
        groups: dict[int, list[int]] = {}
        for index, prior in enumerate(self._priors):
            groups.setdefault(id(prior), []).append(index)
        for indices in groups.values():
            count = len(indices)
            conditions = [
                condition
                if self._terms[i].condition is None
                else repeat_rows(self._terms[i].condition, batch)
                for i in indices
            ]
            joined = self._priors[indices[0]].checked_predict(
                torch.cat([x_t] * count),
                self.schedule.at(torch.cat([t] * count)),
                concatenate(conditions),
            )
            outputs.update(zip(indices, joined.chunk(count), strict=True))
        return outputs


def _sum_to_one(terms: Sequence[Term]) -> bool:
    numbers = [term.coefficient for term in terms if not callable(term.coefficient)]
    return len(numbers) == len(terms) and math.isclose(sum(numbers), 1.0, abs_tol=1e-12)


def _same(first: Prediction, second: Prediction) -> bool:
    return type(first) is type(second) and vars(first) == vars(second)
