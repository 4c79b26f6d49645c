"""Guidance that keeps the norm of the conditional prediction."""

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs import ScorePrior
from scoreregs.errors import ArgumentError
from scoreregs.predictions import expand
from scoreregs.priors.guided import Coefficient, coefficient_at
from scoreregs.trees import Condition, concatenate, repeat_rows
from scoreregs_diffusers.layouts import Layout

__all__ = ["NormGuidedPrior"]


class NormGuidedPrior(ScorePrior):
    r"""Guidance whose result has, in every token, the norm of the conditional prediction.

    $$ g = u + s\, (c - u), \qquad \text{prediction} = g\, \lVert c \rVert / \lVert g \rVert $$

    with the norms over the last dimension of what the model returns: that of Qwen-Image and
    Lumina 2.

    Args:
        prior: the conditional prior.
        scale: s, a number or a function of the `NoiseLevel`.
        null: the null condition, as for `GuidedPrior`.
        layout: how the model takes x, for the norms.

    Raises:
        ArgumentError: without a null condition; when called, without a condition.
    """

    def __init__(
        self, prior: ScorePrior, scale: Coefficient, null: Condition, layout: Layout
    ) -> None:
        super().__init__(prior.schedule, prior.prediction)
        if null is None:
            raise ArgumentError(
                "got no null condition, expected what the model is given for no prompt, batch of 1"
            )
        self._prior = prior
        self._scale = scale
        self._null = null
        self._layout = layout

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        if condition is None:
            raise ArgumentError(
                "got no condition to guide towards, expected one: call the objective with it, or "
                "use the prior without guidance"
            )
        both = self._prior.checked_predict(
            torch.cat([x_t, x_t]),
            self.schedule.at(torch.cat([t, t])),
            concatenate([repeat_rows(self._null, len(x_t)), condition]),
        )
        null, towards = both.chunk(2)
        scale = coefficient_at(self._scale, self.schedule.at(t))
        guided = torch.lerp(null, towards, expand(scale, x_t))
        norms = [
            torch.linalg.vector_norm(self._layout.pack(output), dim=-1, keepdim=True)
            for output in (towards, guided)
        ]
        packed = self._layout.pack(guided) * (norms[0] / norms[1])
        return self._layout.unpack(packed, x_t)
