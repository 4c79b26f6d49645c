"""How policies are evaluated."""

from dataclasses import dataclass

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import Natural, check_settings

__all__ = ["EvaluationConfig"]


@named_calls
@dataclass(frozen=True)
class EvaluationConfig:
    """Roll-outs of the finished policies."""

    environment: str | None = None
    """Gymnasium id, as Hopper-v5; None: the one that the data names, if it is installed."""
    episodes: Natural = 20
    """Episodes, one in each of as many environments; 0: no evaluation."""
    seed: Natural = 0
    """Seed of the first environment; the others follow."""
    every: Natural = 0
    """Steps between evaluations of the policies while they train, a multiple of
    `trainer.log_every`, for the learning curve; 0: only the finished ones."""

    def __post_init__(self) -> None:
        check_settings(self)
