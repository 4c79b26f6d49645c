r"""The pure functions under everything: tensors in, tensors out, no state.

$$ \nabla_\theta = \Big[ \nabla_x Q(x, c) - \tfrac1\beta\, \mathbb E_{t, \epsilon}\,
   w(t)\, (\hat\epsilon(x_t \mid c, t) - b) \Big] \frac{\partial x}{\partial \theta},
   \qquad x_t = \alpha(t) x + \sigma(t) \epsilon $$

is Eq. 15 of SRPO. `weighted_residual` is one draw of its second term, `regularized_gradient` its
bracket, and `denoising_loss` (Eq. 13) is what a prior is trained with. They draw nothing, check
only what is free, and leave module modes alone, so golden values, quadrature, graph capture and
vmap all use these same lines. Where weighting or baseline look at more than the level, they look at
the same `Draw`.

References:
    Chen et al., Score Regularized Policy Optimization through Diffusion Behavior, ICLR 2024.
"""

from typing import Literal, get_args

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

from scoreregs.arguments import check_choice, check_count, check_numbers, named_calls
from scoreregs.baselines import Baseline
from scoreregs.draws import Draw, check_draw, diffuse
from scoreregs.errors import ArgumentError, PriorError
from scoreregs.prior import ScorePrior
from scoreregs.trees import Condition
from scoreregs.weightings import Weighting

__all__ = [
    "BetaPlacement",
    "Normalization",
    "bracket_of",
    "denoising_loss",
    "diffuse",
    "regularized_gradient",
    "residual_of",
    "residual_through_prior",
    "weighted_residual",
]

Normalization = Literal["l2", "rms", "batch", "clipped"]
BetaPlacement = Literal["prior", "value"]


@named_calls
@torch.no_grad()
def weighted_residual(
    prior: ScorePrior,
    x: Tensor,
    condition: Condition,
    t: Tensor,
    noise: Tensor,
    weighting: Weighting,
    baseline: Baseline,
) -> Tensor:
    r"""Returns one draw of the regulariser's gradient, w (epsilon_hat - b), without gradient.

    Args:
        prior: the diffusion prior.
        x: samples, (batch, *event); half precision is computed in float32.
        condition: passed to the prior, batch first.
        t: times, (batch,), in [0, 1].
        noise: epsilon, (batch, *event).
        weighting: w.
        baseline: b.

    Returns:
        A tensor of x's shape and dtype.

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> from scoreregs.baselines import NoiseBaseline
        >>> from scoreregs.weightings import Uniform
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x, noise = torch.zeros(1, 1), torch.ones(1, 1)
        >>> t = torch.ones(1)
        >>> weighted_residual(prior, x, None, t, noise, Uniform(), NoiseBaseline()).abs() < 1e-4
        tensor([[True]])
    """
    _check_plug_ins(weighting, baseline)
    check_draw(prior, x, condition, t, noise)
    draw = Draw.of(prior, x, condition, t, noise)
    return residual_of(draw, weighting, baseline).to(x.dtype)


def residual_of(draw: Draw, weighting: Weighting, baseline: Baseline) -> Tensor:
    """Returns w (epsilon_hat - b) of a draw, (batch, *event), in float32 or more."""
    if torch.is_grad_enabled():
        with torch.no_grad():
            return residual_of(draw, weighting, baseline)
    log_weight = weighting.log_weight_of(draw)
    residual = draw.residual(log_weight)
    remainder = baseline.remainder(draw, log_weight)
    return residual if remainder is None else residual + remainder


def residual_through_prior(draw: Draw, weighting: Weighting, baseline: Baseline) -> Tensor:
    """Returns the residual of a draw with the prior's Jacobian, which Eq. 15 leaves out.

    It is the gradient in x of the baseline's loss (`NoiseBaseline.through_prior`), for a weight
    that is held constant.

    Args:
        draw: one that was made with gradient, from an x that requires one.
        weighting: w.
        baseline: b, one that belongs to a loss.

    Raises:
        ArgumentError: for another baseline.
        PriorError: where the prediction cannot be differentiated.

    References:
        Chen et al., Diffusion Policies Creating a Trust Region for Offline Reinforcement Learning,
        NeurIPS 2024.
    """
    if not draw.output.requires_grad:
        raise PriorError(
            f"got a prediction of {type(draw.prior).__name__} without gradient, expected one that "
            "is differentiable in x_t for through_prior=True: drop .detach() and torch.no_grad() "
            "from predict, and call the objective outside torch.inference_mode()"
        )
    with torch.no_grad():
        log_weight = weighting.log_weight_of(draw)
    return baseline.through_prior(draw, log_weight)


@named_calls
def denoising_loss(
    prior: ScorePrior, x: Tensor, condition: Condition, t: Tensor, noise: Tensor
) -> Tensor:
    r"""Returns the denoising score matching loss of each sample, (batch,), with gradient.

    $$ \| \hat y(x_t \mid c, t) - y \|^2 $$

    summed over the event, y the target of the prior's prediction type; Eq. 13 is the epsilon case.
    For `score` the difference is multiplied with sigma, without which it diverges at t = 0.

    Args:
        prior: the prior whose network is trained, in the mode that it is in.
        x: data, (batch, *event).
        condition: passed to the prior, batch first.
        t: times, (batch,), in [0, 1].
        noise: epsilon, (batch, *event).

    Example:
        >>> from scoreregs import NetworkPrior, VPSchedule
        >>> perfect = NetworkPrior(lambda x_t, t, condition: torch.ones_like(x_t), VPSchedule())
        >>> denoising_loss(perfect, torch.zeros(2, 3), None, torch.rand(2), torch.ones(2, 3))
        tensor([0., 0.])
    """
    check_draw(prior, x, condition, t, noise)
    return Draw.of(prior, x, condition, t, noise).squared_error()


def _check_beta(beta: object) -> None:
    """Raises `ArgumentError` unless this is a temperature, or a tensor of them."""
    if not (isinstance(beta, Tensor) and beta.is_floating_point()):
        check_numbers(beta=beta)
        if not beta > 0:  # pyright: ignore[reportOperatorIssue]
            raise ArgumentError(f"got beta={beta!r}, expected a number > 0")


def _check_forces(value_gradient: object, residual: object, members: int) -> None:
    """Raises `ArgumentError` unless both are None or of one shape, in as many batches as said."""
    for name, got in (("value_gradient", value_gradient), ("residual", residual)):
        if got is not None and not isinstance(got, Tensor):
            raise ArgumentError(f"got {name} of type {type(got).__name__}, expected a tensor")
    shapes = [tuple(got.shape) for got in (value_gradient, residual) if isinstance(got, Tensor)]
    if len(set(shapes)) > 1:
        raise ArgumentError(
            f"got value_gradient of shape {shapes[0]} and residual of shape {shapes[1]}, expected "
            "one shape (batch, *event)"
        )
    if members != 1 or isinstance(members, bool):
        check_count("members", members)
        if shapes and shapes[0][0] % members:
            raise ArgumentError(
                f"got a batch of {shapes[0][0]} for members={members}, expected a multiple"
            )


def _check_plug_ins(weighting: object, baseline: object) -> None:
    """Raises `ArgumentError` for what is no weighting or no baseline."""
    for got, kind, make in (
        (weighting, Weighting, "as_weighting"),
        (baseline, Baseline, "as_baseline"),
    ):
        if not isinstance(got, kind):
            raise ArgumentError(
                f"got {got!r}, expected a {kind.__name__}: {make} makes one of a name"
            )


@named_calls
def regularized_gradient(
    value_gradient: Tensor | None,
    residual: Tensor | None,
    beta: float | Tensor = 1.0,
    normalize: Normalization | None = None,
    beta_on: BetaPlacement = "prior",
    members: int = 1,
) -> Tensor:
    r"""Returns minus the bracket of Eq. 15, the direction that a minimiser descends.

    With g the value's gradient and r the expected weighted residual of a sample:

    | `normalize` | `beta_on="prior"` (Eq. 15) | `beta_on="value"` (the published code) |
    |---|---|---|
    | None | $-g + r / \beta$ | $-\beta g + r$ |
    | "l2" | $-g + \lVert g \rVert_2\, r / \beta$ | $-\beta g / \lVert g \rVert_2 + r$ |
    | "rms" | $-g + \mathrm{rms}(g)\, r / \beta$ | $-\beta g / \mathrm{rms}(g) + r$ |
    | "batch" | $-g + \bar n\, r / \beta$ | $-\beta g / \bar n + r$ |
    | "clipped" | $-g + m\, r / \beta$ | $-\beta g / m + r$ |

    A row's two forms point the same way; without normalisation they differ by the constant beta,
    with it by a factor, of each sample or of the batch, whose mean of $\lVert g \rVert_2$ is
    $\bar n$. With "clipped" $m = \max(\lVert g \rVert_2, \mathrm{median} \lVert g \rVert_2)$: no
    row is pushed harder than the middle one. A zero g has no direction: it stays zero.

    Args:
        value_gradient: g, (batch, *event), or None for pure distillation.
        residual: r, (batch, *event), or None where beta is infinite.
        beta: the temperature, > 0, or one for each sample, (batch,).
        normalize: None; the norm by which beta is divided for each sample (Appendix C, AntMaze); or
            "batch", by the mean of the L2 norms; or "clipped", by a row's own, at least the median.
        beta_on: what beta scales.
        members: how many batches these are, one after the other; each has a mean of its own.

    Example:
        >>> g, r = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 1.0]])
        >>> regularized_gradient(g, r, beta=2.0)
        tensor([[-2.5000, -3.5000]])
        >>> regularized_gradient(g, r, beta=2.0, normalize="l2", beta_on="value")
        tensor([[-0.2000, -0.6000]])
    """
    check_choice("normalize", normalize, (None, *get_args(Normalization)))
    check_choice("beta_on", beta_on, get_args(BetaPlacement))
    _check_beta(beta)
    _check_forces(value_gradient, residual, members)
    return bracket_of(value_gradient, residual, beta, normalize, beta_on, members)


def bracket_of(
    value_gradient: Tensor | None,
    residual: Tensor | None,
    beta: float | Tensor,
    normalize: Normalization | None,
    beta_on: BetaPlacement,
    members: int,
) -> Tensor:
    """Returns `regularized_gradient` of what has been checked."""
    if residual is None:
        if value_gradient is None:
            raise ArgumentError(
                "got neither a value nor a finite beta, expected one of them: nothing is optimised"
            )
        return -value_gradient
    if isinstance(beta, Tensor):
        beta = _per_sample(beta, residual)
    if value_gradient is None:
        return residual / beta if beta_on == "prior" else residual
    if normalize is None and isinstance(beta, float) and beta_on == "prior":
        return residual * (1 / beta) - value_gradient
    norm = _norm(value_gradient, normalize, members)
    if beta_on == "prior":
        return residual * (norm / beta) - value_gradient
    direction = torch.where(norm > 0, value_gradient / norm, value_gradient)
    return residual - beta * direction


def _norm(gradient: Tensor, normalize: Normalization | None, members: int) -> Tensor:
    """Returns the norm of each sample, shaped to multiply it; ones without normalisation."""
    flat = gradient.flatten(1)
    if normalize is None:
        return _per_sample(torch.ones_like(flat[:, 0]), gradient)
    norm = torch.linalg.vector_norm(flat, dim=1)
    if normalize == "rms":
        norm = norm / flat.shape[1] ** 0.5
    if normalize == "batch":
        mean = reduce(norm, "(m b) -> m", "mean", m=members)
        norm = repeat(mean, "m -> (m b)", b=len(flat) // members)
    if normalize == "clipped":
        rows = rearrange(norm, "(m b) -> m b", m=members)
        norm = torch.maximum(rows, rows.median(1, keepdim=True).values).flatten()
    return _per_sample(norm, gradient)


def _per_sample(factor: Tensor, like: Tensor) -> Tensor:
    """Returns a factor of each sample, (batch,), shaped to multiply it."""
    return factor.reshape(-1, *[1] * (like.ndim - 1))
