"""What a stage is: networks, their loss, their optimiser, their check, and what people call it.

A stage is one file: its settings, a frozen dataclass, and a class derived from `Stage`, or from one
of the kinds that others build on: `ValueStage`, `PriorStage` and `ActorStage`. A row of a
configuration class (`scoreregs_offline_rl.stages.registry`) makes it known to everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import Self, override

from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.stretches import FirstRows
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.probe import Probes
from scoreregs_offline_rl.stages.value import Value

__all__ = [
    "UNMOVED",
    "Context",
    "Curve",
    "Given",
    "Metrics",
    "PriorStage",
    "Randoms",
    "Stage",
    "ValueStage",
    "row",
]

C = TypeVar("C")
Randoms = dict[str, Tensor]
Metrics = dict[str, Tensor]
UNMOVED = "unmoved"
"""The metric of a stage that leaves rows alone whose gradient is not finite: the share of them.

They are counted and told at the logging interval, and the stage's check is not passed with any.
"""


@named_calls
@dataclass(frozen=True, eq=False)
class Given:
    """What finished stages give to one that builds on them.

    Attributes:
        value: of scaled observations and actions in [-1, 1], from the `ValueStage`.
        prior: of actions in [-1, 1] given scaled observations, from the `PriorStage`.
        beta: temperature of Eq. 15, or (members,) of them for a stacked stage.
        start: weights that a policy starts from, those of a finished one.
    """

    value: Value | None = None
    prior: ScorePrior | None = None
    beta: float | Tensor | None = None
    start: Mapping[str, Tensor] | None = None


@named_calls
@dataclass(frozen=True, eq=False)
class Context(Generic[C]):
    """What a stage is built from.

    Attributes:
        observation_size: number of observation dimensions.
        action_size: number of action dimensions.
        config: the stage's settings.
        given: what the stages that it needs give.
    """

    observation_size: int
    action_size: int
    config: C
    given: Given = field(default_factory=Given)


@named_calls
@dataclass(frozen=True)
class Curve:
    """The metric that a picture of a run shows of a stage.

    Attributes:
        metric: its name.
        label: what it is, for people.
    """

    metric: str = "loss"
    label: str = "loss"


class Stage(nn.Module, ABC, Generic[C]):
    """Networks, their loss and their optimiser, abstract in `build`, `forward` and `optimizer`.

    The loss is a pure function of (parameters, batch, randoms). Whoever holds the randoms can
    therefore resume, slice a batch over processes, or train several members at once: `stack` of
    stages is a stage of (members, batch, ...), with a loss and metrics (members,), if it works on
    the last axes alone.

    Args:
        config: the settings; they have at least `steps` and `batch_size`.
    """

    name: ClassVar[str]
    """In settings, folders, results and commands."""
    label: ClassVar[str]
    """In tables and pictures."""
    help: ClassVar[str]
    """One sentence for the command line."""
    colour: ClassVar[str] = "#000000"
    """In pictures."""
    curve: ClassVar[Curve] = Curve()
    """What learning curves show."""
    needs: ClassVar[tuple[type[Stage[Any]], ...]] = ()
    """The kinds of stages that it builds on."""
    usual: ClassVar[bool] = False
    """Whether `train` trains it where no stages are named."""
    follows_beta: ClassVar[bool] = False
    """Whether there is one for each temperature of a sweep."""
    settled_after: ClassVar[float] = 0.1
    """Share of the steps after which a failed check means something."""
    checked_rows: ClassVar[int] = 8192
    """Rows that go forward through the networks in a check, and so how seldom there is one."""
    former_names: ClassVar[tuple[str, ...]] = ()
    """What older versions called it, the oldest first."""
    identity: ClassVar[tuple[str, ...]] = ()
    """The settings that say, beside the sizes, what its weights mean."""
    idles: ClassVar[bool] = False
    """Whether there are steps in which some parameters get no gradient and stay as they are."""
    compilable: ClassVar[bool] = True
    """Whether its loss may be recorded once and run as a graph from then on, for each `phase`."""

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config

    @classmethod
    @abstractmethod
    def build(cls, context: Context[C]) -> Self:
        """Returns the stage with its initial weights, drawn from the global generator."""

    @classmethod
    def needs_for(cls, config: C) -> tuple[type[Stage[Any]], ...]:
        """Returns the kinds of stages that it builds on with some settings; `needs` by default."""
        del config
        return cls.needs

    @classmethod
    def stream(cls) -> str:
        """Returns what rows and randoms are drawn by: its oldest name, so that old runs go on."""
        return cls.former_names[0] if cls.former_names else cls.name

    @classmethod
    def initial_stream(cls) -> str:
        """Returns what the initial weights are drawn by."""
        return cls.stream()

    @classmethod
    def held_out(cls, config: C) -> int:
        """Returns how many rows are kept out of its training, to judge it by."""
        del config
        return 0

    def first_rows(self, data: Transitions) -> FirstRows | None:
        """Returns what its first steps work on in place of scaled data; None: the data, always."""
        del data
        return None

    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Returns what is random about a step: tensors of `batch_size` rows on its device."""
        del batch_size, generator
        return {}

    @property
    def phase(self) -> Hashable:
        """What tells apart steps whose loss is computed by other operations; usually nothing."""
        return None

    @override
    @abstractmethod
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """Returns the loss, a mean over the batch, and detached numbers of its shape."""

    @abstractmethod
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Returns a fresh optimiser of its parameters, with a learning-rate schedule if any."""

    def after_step(self) -> None:
        """Does what follows each step of the optimiser, as a moving average."""

    def resumed(self) -> None:
        """Follows the loading of a checkpoint: what is checked at a first call was, before it."""
        for part in self.modules():
            if isinstance(part, ScoreRegularizedObjective):
                part.skip_first_check()

    @torch.no_grad()
    def check(self, probes: Probes) -> Finding | None:
        """Returns what a look without a simulator finds; None for a stage without a check."""
        del probes
        return None

    def receive(self, given: Given) -> None:
        """Takes what its members were given, as one, when it is stacked from them."""
        del given


class ValueStage(Stage[C]):
    """A stage whose outcome is a value, abstract in that too."""

    @property
    @abstractmethod
    def value(self) -> Value:
        """Q and V of what has been trained."""


class PriorStage(Stage[C]):
    """A stage whose outcome is a prior of actions, abstract in that too."""

    @property
    @abstractmethod
    def prior(self) -> ScorePrior:
        """The prior of actions (batch, a) in [-1, 1], given scaled observations (batch, o)."""


@named_calls
def row(stage: type[Stage[C]], config: type[C]) -> C:
    """Returns the row of a stage in a configuration class: a field with its settings' defaults.

    Args:
        stage: the class; the field has its `name`.
        config: its settings.

    Raises:
        ArgumentError: they are not those that the stage is derived for.

    Example:
        >>> from scoreregs_offline_rl import AWRConfig, AWRStage
        >>> @dataclass(frozen=True)
        ... class Rows:
        ...     awr: AWRConfig = row(AWRStage, AWRConfig)
        >>> Rows().awr.clip
        100.0
    """
    expected, given = _settings_of(stage), getattr(config, "__name__", repr(config))
    if not (isinstance(config, type) and issubclass(config, expected)):
        raise ArgumentError(
            f"got the settings {given} for {stage.__name__}, expected {expected.__name__} or a "
            "class derived from it: give the stage its own"
        )
    names = {f.name for f in fields(config)} if is_dataclass(config) else set()
    if not {"steps", "batch_size"} <= names:
        raise ArgumentError(
            f"got the settings {given} for {stage.__name__}, expected a dataclass with steps and "
            "batch_size at least: add them"
        )
    made: Any = field(default_factory=config, metadata={"stage": stage})
    return made


def _settings_of(stage: type[Stage[Any]]) -> type:
    """Returns the type of a stage's settings, by what is in the brackets of its bases."""
    for kind in stage.__mro__:
        for base in vars(kind).get("__orig_bases__", ()):
            for argument in get_args(base):
                bound = getattr(argument, "__bound__", None) or argument
                if isinstance(bound, type):
                    return bound
    return object
