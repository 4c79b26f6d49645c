r"""Priors: diffusion models seen through one method.

A prior knows its noise schedule and what its network predicts. Noise, score, denoised sample and
the residual of Eq. 15 are derived from the prediction. Mind the sign: `score` is
$\nabla \log p_t$, which points towards the data.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import (
    accepts,
    check_floating,
    check_has_values,
    check_method,
    named_calls,
)
from scoreregs.discovery import Evaluating, dtype_of, modules_of
from scoreregs.errors import ArgumentError, PriorError, SingularTimeError
from scoreregs.predictions import PredictionLike, as_prediction, cast
from scoreregs.reprs import Constructed
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.schedules.base import check_schedule
from scoreregs.times import check_times
from scoreregs.trees import Condition, map_tensors, repeat_rows

__all__ = ["NetworkPrior", "ScorePrior", "check_prior_type", "times_for"]

logger = logging.getLogger(__name__)


class ScorePrior(Constructed, ABC):
    r"""A diffusion prior, abstract in `predict`.

    A prior is not a module and owns nothing: an objective that holds one has none of its network's
    parameters. `epsilon`, `score` and `denoise` evaluate it without gradient and in eval mode; the
    mode of every module found in the prior's attributes is put back afterwards.

    Args:
        schedule: the noise schedule under which the network was trained.
        prediction: what `predict` returns: "epsilon", "sample", "v_prediction", "score" or
            "flow_prediction" (see `scoreregs.predictions`).

    Raises:
        ArgumentError: for an unknown prediction, or a schedule that is not a `NoiseSchedule`.

    Example:
        >>> from scoreregs import VPSchedule
        >>> class StandardNormal(ScorePrior):
        ...     def predict(self, x_t, t, condition=None):
        ...         return -x_t
        >>> prior = StandardNormal(VPSchedule(), prediction="score")
        >>> prior.score(torch.ones(1, 2), 0.5)
        tensor([[-1., -1.]])
    """

    _tells_defaults = False

    def __init__(self, schedule: NoiseSchedule, prediction: PredictionLike = "epsilon") -> None:
        check_schedule(schedule)
        check_method(self, "predict", ("x_t", "t", "condition"))
        self.schedule = schedule
        self.prediction = as_prediction(prediction)

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """Returns the network's prediction.

        Args:
            x_t: noisy samples, (batch, *event), floating point.
            t: times, (batch,), float64, in [0, 1] with 0 the data and 1 the noise.
            condition: what an objective was called with, batch first; a prior without a condition
                ignores it.

        Returns:
            A tensor of x_t's shape, of the prior's prediction type.
        """

    @named_calls
    def epsilon(self, x_t: Tensor, t: float | Tensor, condition: Condition = None) -> Tensor:
        """Returns the predicted noise at x_t, (batch, *event), in x_t's dtype.

        Args:
            x_t: noisy samples, (batch, *event).
            t: a time in [0, 1], or one for each sample, (batch,).
            condition: passed to `predict`, of x_t's batch or of one row for all.

        Raises:
            ArgumentError: for times outside [0, 1] and a condition of another batch.
            SingularTimeError: where it has no finite value, as a sample prediction's at sigma = 0.
            PriorError: where `predict` does not return a tensor of x_t's shape.
        """
        return self._evaluate(self.prediction.epsilon, x_t, t, condition)

    @named_calls
    def denoise(self, x_t: Tensor, t: float | Tensor, condition: Condition = None) -> Tensor:
        """Returns the posterior mean of the data given x_t; arguments as for `epsilon`."""
        return self._evaluate(self.prediction.sample, x_t, t, condition)

    @named_calls
    def score(self, x_t: Tensor, t: float | Tensor, condition: Condition = None) -> Tensor:
        """Returns the score of the diffused density at x_t; arguments as for `epsilon`."""
        return self._evaluate(self.prediction.score, x_t, t, condition)

    def evaluating(self) -> AbstractContextManager[None]:
        """A context without gradient and in eval mode; each module's own mode is put back."""
        return Evaluating(self.networks())

    def networks(self) -> Iterator[nn.Module]:
        """Yields the modules of this prior and of the priors it wraps.

        They are found among its attributes, in lists, tuples and dicts of them, and behind the
        functions among them and `predict` itself (see `scoreregs.discovery`); a prior may be a
        module itself.
        """
        if isinstance(self, nn.Module):
            yield self
        # What is read from a string has no module.
        ours = (type(self).predict.__module__ or "").startswith("scoreregs")
        yield from modules_of(vars(self) if ours else [vars(self), self.predict])

    def checked_predict(self, x_t: Tensor, level: NoiseLevel, condition: Condition) -> Tensor:
        """Returns `predict` in x_t's dtype, with the current gradient and module modes.

        Raises:
            PriorError: where it returns anything but a floating tensor of x_t's shape and device,
                or writes to its input.
        """
        # What is traced, or made in inference mode, has no version.
        watched = not (
            torch.compiler.is_compiling() or x_t.is_inference() or level.t.is_inference()
        )
        versions = (x_t._version, level.t._version) if watched else None
        output = self.predict(x_t, level.t, condition)
        name = type(self).__name__
        if watched and (x_t._version, level.t._version) != versions:
            raise PriorError(
                f"got {name}.predict that writes to its x_t or t in place, expected it to leave "
                "them as they are, as the noise is told from them afterwards: let the network "
                "begin with x_t.clone()"
            )
        if not isinstance(output, Tensor):
            raise PriorError(
                f"got a {type(output).__name__} from {name}.predict, expected a tensor of shape "
                f"{tuple(x_t.shape)}: return the prediction alone, for instance `output.sample` "
                "or `output[0]`"
            )
        if output.shape != x_t.shape:
            raise PriorError(
                f"got shape {tuple(output.shape)} from {name}.predict, expected x_t's shape "
                f"{tuple(x_t.shape)}: a network that also returns a variance has to be cut to its "
                "first half"
            )
        if output.device != x_t.device or not output.is_floating_point():
            raise PriorError(
                f"got a {output.dtype} tensor on {output.device} from {name}.predict, expected a "
                f"floating one on {x_t.device}: move the network to x's device"
            )
        return cast(output, x_t.dtype)

    def _evaluate(
        self,
        convert: Callable[[Tensor, Tensor, NoiseLevel, NoiseSchedule], Tensor],
        x_t: Tensor,
        t: float | Tensor,
        condition: Condition,
    ) -> Tensor:
        times = times_for(x_t, t)
        condition = repeat_rows(condition, len(x_t))
        with self.evaluating():
            level = self.schedule.at(times)
            output = self.checked_predict(x_t, level, condition)
            converted = convert(output, x_t, level, self.schedule)
        if bool(output.isfinite().all()) and not bool(converted.isfinite().all()):
            raise SingularTimeError(
                f"got t from {times.min().item():.6g} to {times.max().item():.6g}, expected times "
                f"at which a {self.prediction.name} prediction has a finite "
                f"{convert.__name__}: keep away from the end where alpha or sigma is zero"
            )
        return converted


@named_calls
class NetworkPrior(ScorePrior):
    """A prior from any module or callable of (x_t, t, condition), or of (x_t, t).

    The network is called with x_t and every floating tensor of the condition in the dtype of its
    parameters, and with t in float32 (float64 for a float64 network).

    Args:
        network: a module or function that returns its prediction, of x_t's shape. Modules that a
            function closes over, is bound to or refers to are found; one that takes two arguments
            is called without the condition.
        schedule: the noise schedule under which the network was trained.
        prediction: what the network returns, see `ScorePrior`.
        time_map: maps t in [0, 1], float64 (batch,), to the time that the network wants. For a
            model of N discrete steps: `TabulatedSchedule.step`, or
            `lambda t: (t * N).round().long().clamp(min=1) - 1`.
        modules: the modules behind a function where they cannot be found, or () for none; they are
            put in eval mode and decide the dtype.

    Raises:
        ArgumentError: where the network or the time map is not callable, the network takes another
            number of arguments, and as for `ScorePrior`.

    Example:
        >>> from scoreregs import VPSchedule
        >>> prior = NetworkPrior(lambda x_t, t, condition: x_t, VPSchedule(), "epsilon")
        >>> prior.epsilon(torch.ones(2, 3), 0.5).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        schedule: NoiseSchedule,
        prediction: PredictionLike = "epsilon",
        time_map: Callable[[Tensor], Tensor] | None = None,
        *,
        modules: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__(schedule, prediction)
        for name, function in (("network", network), ("time_map", time_map)):
            if name == "time_map" and function is None:
                continue
            if not callable(function) or isinstance(function, (type, NoiseSchedule, ScorePrior)):
                raise ArgumentError(
                    f"got a {name} of type {type(function).__name__}, expected a callable: a "
                    "module (an instance, not the class) or a function"
                )
        if getattr(getattr(network, "forward", None), "__func__", None) is nn.Module.forward:
            raise ArgumentError(
                f"got a network of type {type(network).__name__}, which has no forward, expected a "
                "module that can be called, or a function that calls those in it"
            )
        if time_map is not None and accepts(time_map, 1) is False:
            raise ArgumentError(
                "got a time_map that does not take t alone, expected a function of t, (batch,)"
            )
        self.network = network
        self.time_map = time_map
        self.modules = _as_modules(modules)
        self._takes_condition = _takes_condition(network)
        if modules is None and next(modules_of(network), None) is None:
            _say_once(network)

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        dtype = self._network_dtype(x_t)
        time = t if self.time_map is None else self.time_map(t)
        if not isinstance(time, Tensor):
            raise ArgumentError(
                f"got a {type(time).__name__} from time_map, expected a tensor: compute it from t"
            )
        if time.is_floating_point():
            # In place of promote_types, which is an operation like any other.
            time = cast(time, dtype if dtype == torch.float64 else torch.float32)
        x_t = cast(x_t, dtype)
        if not self._takes_condition:
            return self.network(x_t, time)
        if condition is not None:
            condition = map_tensors(
                lambda c: cast(c, dtype) if c.is_floating_point() else c, condition
            )
        return self.network(x_t, time, condition)

    def _network_dtype(self, x_t: Tensor) -> torch.dtype:
        """Returns the dtype of the first floating parameter, x_t's where modules disagree."""
        if self.modules is None and isinstance(self.network, nn.Module):
            return dtype_of(self.network) or x_t.dtype
        modules = modules_of(self.network) if self.modules is None else iter(self.modules)
        dtypes = {dtype for dtype in map(dtype_of, modules) if dtype is not None}
        return dtypes.pop() if len(dtypes) == 1 else x_t.dtype


def _as_modules(modules: Sequence[nn.Module] | None) -> tuple[nn.Module, ...] | None:
    if modules is None:
        return None
    found = (modules,) if isinstance(modules, nn.Module) else modules
    if not isinstance(found, (list, tuple)) or not all(isinstance(m, nn.Module) for m in found):
        raise ArgumentError(
            f"got modules={modules!r}, expected a list of torch.nn.Module, or () where the "
            "network has none"
        )
    return tuple(found)


def _takes_condition(network: Callable[..., Tensor]) -> bool:
    if accepts(network, 3) is not False:
        return True
    if accepts(network, 2) is not False:
        return False
    raise ArgumentError(
        f"got a network of type {type(network).__name__} that takes neither (x_t, t, condition) "
        "nor (x_t, t), expected one of them: wrap it, for instance as "
        "`lambda x_t, t, condition: network(x_t, timestep=t, label=condition)`"
    )


def check_prior_type(prior: object) -> None:
    """Raises `ArgumentError` unless a prior is one."""
    if not isinstance(prior, ScorePrior):
        raise ArgumentError(
            f"got a prior of type {type(prior).__name__}, expected a ScorePrior: wrap a "
            "network in scoreregs.NetworkPrior(network, schedule, prediction)"
        )
    if not hasattr(prior, "schedule"):
        raise ArgumentError(
            f"got a {type(prior).__name__} without a schedule, expected its __init__ to call "
            "super().__init__(schedule, prediction)"
        )


def times_for(x_t: Tensor, t: float | Tensor) -> Tensor:
    """Returns t for each sample of x_t, (batch,)."""
    check_floating("x_t", x_t)
    check_has_values("x_t", x_t)
    times = as_time(t, x_t.device)
    if times.shape not in ((), (1,), x_t.shape[:1]):
        raise ArgumentError(
            f"got t of shape {tuple(times.shape)} for x_t of shape {tuple(x_t.shape)}, expected a "
            f"number or ({len(x_t)},), a time for each sample"
        )
    times = times.expand(x_t.shape[0])
    check_times(times)
    return times


_said: set[object] = set()


def _say_once(network: Callable[..., Tensor]) -> None:
    """Says that no module was found behind a function, once for each."""
    where = getattr(network, "__code__", type(network))
    if where not in _said:
        _said.add(where)
        logger.warning(
            "found no module behind the network %s: if it has one, give modules=[it], so that it "
            "is evaluated in eval mode and in its dtype; modules=() says that it has none",
            getattr(network, "__qualname__", type(network).__name__),
        )
