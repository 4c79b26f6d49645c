"""What the trainer asks of a training stage."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import StageName

__all__ = ["Metrics", "Randoms", "Stage"]

Randoms = dict[str, Tensor]
Metrics = dict[str, Tensor]


class Stage(nn.Module, ABC):
    """Networks, their loss and their optimiser.

    The loss is a pure function of (parameters, batch, randoms). Whoever holds the randoms can
    therefore resume, slice a batch over processes, or train several members at once: `stack` of
    stages is a stage of (members, batch, ...), with a loss and metrics (members,).
    """

    name: ClassVar[StageName]
    compilable: ClassVar[bool] = False
    """Whether it has networks with much to do between matrix products."""

    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """What is random about a step: tensors with `batch_size` rows on the generator's device."""
        del batch_size, generator
        return {}

    def compile_networks(self) -> None:
        """Have the networks compiled for training; asked of stages that are `compilable`."""
        raise NotImplementedError(f"{self.name} has no networks to compile")

    @abstractmethod
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """The loss, a mean over the batch, and detached numbers worth watching, of its shape."""

    @abstractmethod
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """A fresh optimiser of the stage's parameters, with its learning-rate schedule if any."""

    def after_step(self) -> None:
        """Called after every step of the optimiser."""
