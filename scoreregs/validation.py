"""Checks of what the objective is given; each raises one error that names got, expected, remedy."""

import math

import torch
from torch import Tensor

from scoreregs.arguments import (
    COMPUTED,
    check_generator,
    check_has_values,
    is_computed,
    kind_of,
)
from scoreregs.draws import Draw
from scoreregs.errors import ArgumentError, SingularTimeError, ValueFunctionError
from scoreregs.finiteness import nonfinite_prediction, nonfinite_value
from scoreregs.kernel import BetaPlacement
from scoreregs.prior import ScorePrior
from scoreregs.scalars import plain
from scoreregs.trees import Condition, leaves
from scoreregs.weightings import Weighting

# Rows of other lengths have a batch dimension in the jagged layout alone.
_CONDITIONS = {torch.strided, torch.jagged}

INDEPENDENT_VALUE = (
    "got a value that does not depend on x, expected one differentiable in x: compute it from the "
    "x that `value` is called with, without .detach(), .item() or torch.no_grad()"
)


def check_beta(beta: object, beta_on: BetaPlacement) -> float:
    """Returns a temperature as a float.

    Raises:
        ArgumentError: unless it is a positive number that its placement allows.
    """
    beta = plain(beta)
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not beta > 0:
        raise ArgumentError(
            f"got beta={beta!r}, expected a number > 0: small values trust the prior, large ones "
            'the value; use float("inf") to leave the prior out, or a Beta that changes by itself'
        )
    if math.isinf(beta) and beta_on == "value":
        raise ArgumentError(
            'got an infinite beta with beta_on="value", expected a finite one: use beta_on="prior"'
        )
    return float(beta)


def check_betas(beta: Tensor, x: Tensor, beta_on: BetaPlacement, check_values: bool) -> None:
    """Raises `ArgumentError` unless there is a temperature for each sample on x's device."""
    if not isinstance(beta, Tensor) or not beta.is_floating_point() or beta.shape != x.shape[:1]:
        got = tuple(beta.shape) if isinstance(beta, Tensor) else type(beta).__name__
        raise ArgumentError(
            f"got the temperatures beta={got}, expected a floating point tensor of shape "
            f"({len(x)},), one for each sample: set objective.beta to one of all"
        )
    if beta.device != x.device:
        raise ArgumentError(
            f"got beta on {beta.device} for x on {x.device}, expected one device: use "
            f"beta.to({str(x.device)!r})"
        )
    if check_values:
        for number in {beta.amin().item(), beta.amax().item()}:
            check_beta(number, beta_on)


def check_stack(members: int, x: Tensor) -> None:
    """Raises `ArgumentError` unless a batch consists of as many equal ones as there are members."""
    if x.shape[0] % members:
        raise ArgumentError(
            f"got a batch of {len(x)} for members={members}, expected a multiple: the members' "
            "batches, equally many samples each, one after the other"
        )


def check_members_of_beta(betas: Tensor, members: int) -> None:
    """Raises `ArgumentError` unless there is one temperature, or one for each member."""
    if len(betas) not in (1, members):
        raise ArgumentError(
            f"got a beta of {len(betas)} temperatures for members={members}, expected one of all "
            "or one for each: give the objective members= as many"
        )


def check_data_of_call(data: Tensor, x: Tensor, used: bool, check_values: bool) -> None:
    """Raises `ArgumentError` unless data that stands beside x can do so, and is used."""
    if not used:
        raise ArgumentError(
            "got data for a beta that does not look at it, expected none: data is what TargetBeta "
            "compares x with"
        )
    if not isinstance(data, Tensor) or not data.is_floating_point() or data.shape != x.shape:
        got = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise ArgumentError(
            f"got data={got}, expected a floating point tensor of x's shape {tuple(x.shape)}: a "
            "sample of the data for each, under the same condition"
        )
    if data.device != x.device:
        raise ArgumentError(
            f"got data on {data.device} for x on {x.device}, expected one device: use "
            f"data.to({str(x.device)!r})"
        )
    if check_values:
        check_finite("data", data)


def check_inputs(
    x: Tensor, condition: Condition, generator: torch.Generator | None, check_values: bool
) -> None:
    """Raises `ArgumentError` unless x and condition are a batch on one device."""
    # `is_computed` without its call, as every step comes by.
    if (
        not isinstance(x, Tensor)
        or x.dtype not in COMPUTED
        or x.layout is not torch.strided
        or x.is_nested
    ):
        mend = "x.float()" if isinstance(x, Tensor) else "torch.as_tensor(x).float()"
        raise ArgumentError(
            f"got x of type {kind_of(x)}, expected a dense floating point tensor: use {mend}"
        )
    if x.ndim < 2 or x.numel() == 0:
        raise ArgumentError(
            f"got x of shape {tuple(x.shape)}, expected a non-empty (batch, *event): add the batch "
            "dimension with x[None], or an event dimension with x[:, None]"
        )
    check_generator(generator, x.device)
    for leaf in () if condition is None else leaves(condition):
        if leaf.layout not in _CONDITIONS or (leaf.is_nested and leaf.layout is torch.strided):
            raise ArgumentError(
                f"got a condition of type {kind_of(leaf)}, expected a dense tensor: use "
                "condition.to_dense(), or the jagged layout for rows of other lengths"
            )
        if leaf.shape[:1] != x.shape[:1]:
            raise ArgumentError(
                f"got a condition of shape {tuple(leaf.shape)} for x of shape {tuple(x.shape)}, "
                f"expected the batch of {len(x)} first: use condition.expand({len(x)}, ...)"
            )
        if leaf.device != x.device:
            raise ArgumentError(
                f"got a condition on {leaf.device} for x on {x.device}, expected one device: use "
                f"condition.to({str(x.device)!r})"
            )
    if check_values:
        check_finite("x", x)
        for leaf in leaves(condition):
            check_finite("the condition", leaf)


def check_data(data: Tensor, condition: Condition, least: int) -> None:
    """Raises `ArgumentError` unless data and condition are finite, of `least` samples or more."""
    if not is_computed(data):
        raise ArgumentError(
            f"got data of type {kind_of(data)}, expected a floating point tensor: use "
            "torch.as_tensor(data, dtype=torch.float32)"
        )
    if data.ndim < 2 or len(data) < least or not data.numel():
        raise ArgumentError(
            f"got data of shape {tuple(data.shape)}, expected (count, *event) with a count of at "
            f"least {least}: a 1-D event has shape (count, 1)"
        )
    check_finite("the data", data)
    for leaf in leaves(condition):
        if leaf.shape[:1] != data.shape[:1]:
            raise ArgumentError(
                f"got a condition of shape {tuple(leaf.shape)} for {len(data)} samples, expected "
                "one row for each sample"
            )
        check_finite("the condition", leaf)


def given_draws(x: Tensor, t: float | Tensor | None, noise: Tensor | None) -> int | None:
    """Returns the number of draws that given t and noise imply, or None where they leave it open.

    Raises:
        ArgumentError: where their shape, dtype or device does not fit x or each other.
    """
    if t is None and noise is None:
        return None
    counts: set[int] = set()
    if t is not None and not isinstance(plain(t), (Tensor, int, float)):
        raise ArgumentError(
            f"got t of type {type(t).__name__}, expected a number or a tensor: use torch.as_tensor"
        )
    if isinstance(t, Tensor):
        if t.shape not in ((), x.shape[:1]) and (t.ndim != 2 or t.shape[1] != len(x)):
            raise ArgumentError(
                f"got t of shape {tuple(t.shape)}, expected (), ({len(x)},) or (draws, {len(x)})"
            )
        if t.ndim == 2:
            counts.add(len(t))
    if noise is not None:
        if not isinstance(noise, Tensor):
            raise ArgumentError(f"got noise of type {type(noise).__name__}, expected a tensor")
        if x.shape not in (noise.shape, noise.shape[1:]):
            raise ArgumentError(
                f"got noise of shape {tuple(noise.shape)}, expected {tuple(x.shape)} or "
                f"(draws, {', '.join(map(str, x.shape))})"
            )
        if noise.ndim == x.ndim + 1:
            counts.add(len(noise))
        elif t is not None:
            counts.add(1 if not isinstance(t, Tensor) or t.ndim < 2 else len(t))
    for name, tensor in (("t", t), ("noise", noise)):
        if isinstance(tensor, Tensor) and tensor.device != x.device:
            raise ArgumentError(
                f"got {name} on {tensor.device} for x on {x.device}, expected one device: use "
                f"{name}.to({str(x.device)!r})"
            )
        if isinstance(tensor, Tensor) and not tensor.is_floating_point():
            raise ArgumentError(
                f"got {name} of dtype {tensor.dtype}, expected floating point: times are in "
                "[0, 1]; a step k of N is (k + 1) / N"
            )
    if len(counts) > 1:
        raise ArgumentError(
            f"got t and noise for {' and '.join(map(str, sorted(counts)))} draws, expected as many "
            "of both"
        )
    if 0 in counts:
        raise ArgumentError("got t or noise for 0 draws, expected at least one")
    return counts.pop() if counts else None


@torch.no_grad()
def check_singular(prior: ScorePrior, weighting: Weighting, t: Tensor) -> None:
    """Raises `SingularTimeError` where the weighted residual has no finite value at a time."""
    level = prior.schedule.at(t)
    bad = weighting.is_singular(prior, level)
    if bool(bad.any()):
        raise SingularTimeError(
            f"got t = {level.t[bad][0].item():.6g}, where {type(weighting).__name__} times the "
            f"residual of a {prior.prediction.name} prediction is not finite under "
            f"{type(prior.schedule).__name__}; expected a finite product: narrow the time range or "
            'choose a weighting that vanishes there, such as "sigma2" (weights are >= 0)'
        )


def check_weight(weighting: Weighting, draw: Draw) -> None:
    """Raises `ArgumentError` where a draw's weight is negative or infinite (waits for the device).

    The time is not to blame here: `check_singular` comes before.
    """
    log_weight = weighting.log_weight_of(draw)
    if not bool((log_weight < math.inf).all()) and bool(draw.output.isfinite().all()):
        raise ArgumentError(
            f"got a weight that is negative, infinite or NaN from {type(weighting).__name__}, "
            "expected finite ones >= 0: look for a division by zero in it"
        )


def check_value(value: Tensor, x: Tensor) -> None:
    """Raises `ValueFunctionError` unless a value is (batch,) and depends on x."""
    if not isinstance(value, Tensor):
        raise ValueFunctionError(
            f"got a {type(value).__name__} from the value, expected a tensor of shape ({len(x)},)"
        )
    if value.shape != x.shape[:1]:
        raise ValueFunctionError(
            f"got shape {tuple(value.shape)} from the value, expected ({len(x)},), one value for "
            "each sample: sum over the event, or use .squeeze(-1)"
        )
    if value.device != x.device:
        raise ValueFunctionError(
            f"got a value on {value.device} for x on {x.device}, expected one device: move the "
            "value's parameters to x's"
        )
    if not value.requires_grad:
        raise ValueFunctionError(INDEPENDENT_VALUE)
    if value.is_complex():
        raise ValueFunctionError(
            f"got a value of type {value.dtype}, expected real ones: use .real or .abs()"
        )


def check_gradients(
    value: Tensor | None,
    value_gradient: Tensor | None,
    residuals: Tensor | None,
    times: Tensor | None,
) -> None:
    """Raises the error of whoever returned NaN or an infinity (waits for the device)."""
    if value is not None and value_gradient is not None:
        if not bool(value.isfinite().all()):
            raise ValueFunctionError(
                "got NaN or infinity from the value, expected finite values: look for them in what "
                "it compares x with, as measurements, or take smaller steps where x has diverged"
            )
        finite = value_gradient.flatten(1).isfinite().all(1)
        if not bool(finite.all()):
            raise nonfinite_value(int((~finite).sum()), len(finite))
    if residuals is not None and times is not None:
        bad = ~residuals.flatten(2).isfinite().all(2)
        if bool(bad.any()):
            raise nonfinite_prediction(bad, times)


def check_overflow(gradient: Tensor, beta: float | Tensor) -> None:
    """Raises `ArgumentError` where finite parts gave an infinite whole (waits for the device)."""
    if not bool(gradient.isfinite().all()):
        if isinstance(beta, Tensor):
            beta = beta.amin().item()
        raise ArgumentError(
            f"got a gradient beyond the range of {gradient.dtype} with beta={beta:g}, expected a "
            "finite one: choose beta nearer to the ratio of the two forces, or keep x in float32"
        )


def check_finite(name: str, tensor: Tensor) -> None:
    """Raises `ArgumentError` where a tensor is not finite (waits for the device)."""
    check_has_values(name, tensor)
    finite = tensor.isfinite()
    if not bool(finite.all()):
        row = int((~finite).flatten(1).any(1).nonzero()[0]) if tensor.ndim > 1 else 0
        raise ArgumentError(
            f"got NaN or infinity in {name}, first in row {row}, expected finite numbers: look at "
            "what produced it"
        )
