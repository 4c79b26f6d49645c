"""A baseline that is the prediction at another sample, diffused alike."""

from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_floating, named_calls
from scoreregs.baselines.base import Baseline
from scoreregs.draws import Draw
from scoreregs.errors import ArgumentError
from scoreregs.trees import Condition, check_condition

__all__ = ["ReferenceBaseline"]


@named_calls
class ReferenceBaseline(Baseline):
    r"""$b = \hat\epsilon(\alpha x_r + \sigma \epsilon \mid c_r, t)$ at a reference, same (t, eps).

    The expected gradient changes, by the reference's own: a reference equal to x and its condition
    leaves none. Delta denoising score (DDS).

    Args:
        reference: x_r, one sample (1, *event) or the objective's batch.
        condition: c_r, a batch of 1 or the objective's; by default what the objective is called
            with. Both may be set between calls.

    Raises:
        ArgumentError: for what is no floating point batch; when called with an x of another shape.

    References:
        Hertz et al., Delta Denoising Score, ICCV 2023.

    Example:
        >>> import torch
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x = torch.ones(1, 1)
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, baseline=ReferenceBaseline(x)
        ... )
        >>> objective(x).gradient
        tensor([[0.]])
    """

    def __init__(self, reference: Tensor, condition: Condition = None) -> None:
        check_floating("reference", reference)
        self.reference = reference
        check_condition(condition)
        self.condition = condition

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        reference = draw.fold(self.reference)
        if not isinstance(reference, Tensor) or reference.shape != draw.x.shape:
            event = ", ".join(map(str, draw.x.shape[1:]))
            got = (
                tuple(reference.shape)
                if isinstance(reference, Tensor)
                else type(reference).__name__
            )
            raise ArgumentError(
                f"got a reference of {got}, expected a tensor of shape (1, {event}) or x's: add "
                "the batch dimension with reference[None]"
            )
        condition = draw.condition if self.condition is None else draw.fold(self.condition)
        with draw.prior.evaluating():
            other = Draw.of(draw.prior, reference.to(draw.x), condition, draw.level.t, draw.noise)
            return -other.residual(log_weight)
