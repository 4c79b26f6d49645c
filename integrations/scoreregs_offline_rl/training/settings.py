"""How stages are run, whatever they are."""

from dataclasses import dataclass
from typing import Literal

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import Count, check_settings, require
from scoreregs_offline_rl.randoms import NEWEST_DRAWS

__all__ = ["TrainerConfig"]


@named_calls
@dataclass(frozen=True)
class TrainerConfig:
    """How the stages are run."""

    log_every: Count = 1000
    """Steps that a line of metrics is averaged over."""
    checkpoint_every: Count = 10_000
    """Steps between checkpoints."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints are kept."""
    mixed_precision: Literal["no", "fp16", "bf16"] | None = None
    """Precision of the forward pass; None: what `accelerate launch` says, else full."""
    compile: bool | None = None
    """Whether the gradients of a step are compiled as one graph, which takes a quarter of a minute
    a stage; None: where a stage takes 20,000 steps or more and a short trial finds it faster."""
    capture: bool = False
    """Whether several steps are one CUDA graph; not measured yet."""
    cpu: bool = False
    """Stay on the CPU where there is an accelerator."""
    draws: Count | None = None
    """Version of how rows and noise are drawn, 1 or 2; None: that of the run directory, and the
    newest in a new one."""
    log_with: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Accelerate's trackers."""

    def __post_init__(self) -> None:
        check_settings(self)
        known = range(1, NEWEST_DRAWS + 1)
        drawn = self.draws is None or self.draws in known
        require(drawn, "trainer.draws", self.draws, f"one of {[*known]}")
