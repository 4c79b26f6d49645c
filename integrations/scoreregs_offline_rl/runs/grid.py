"""Which members a sweep has: seeds by temperatures."""

from dataclasses import dataclass, replace

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import Natural, Positive, check_settings
from scoreregs_offline_rl.runs.configuration import TrainConfig

__all__ = ["PAPER_BETAS", "SweepGrid"]

PAPER_BETAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""The temperatures that the paper searches for locomotion (Appendix C)."""


@named_calls
@dataclass(frozen=True)
class SweepGrid:
    """The seeds and temperatures of a sweep.

    Attributes:
        seeds: of all stages.
        betas: temperatures of the policies of Eq. 15.

    Example:
        >>> SweepGrid(seeds=(0, 1), betas=(0.1,)).labels
        ('seed-0_beta-0.1', 'seed-1_beta-0.1')
    """

    seeds: tuple[Natural, ...] = (0, 1, 2, 3, 4, 5)
    """Seeds of weights, batches and noise."""
    betas: tuple[Positive, ...] = PAPER_BETAS
    """Temperatures of Eq. 15; those that the paper searches."""

    def __post_init__(self) -> None:
        check_settings(self)
        for name, values in (("seeds", self.seeds), ("betas", self.betas)):
            if not values or len(set(values)) < len(values):
                raise ArgumentError(
                    f"got {name} {list(values)}, expected at least one, each once: leave out what "
                    "comes twice"
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each member, seeds first."""
        return tuple(f"{seed}_beta-{b}" for seed in self.seed_labels for b in self.beta_labels)

    @property
    def seed_labels(self) -> tuple[str, ...]:
        """A name for each seed."""
        return tuple(f"seed-{seed}" for seed in self.seeds)

    @property
    def beta_labels(self) -> tuple[str, ...]:
        """A name for each temperature: six digits, all of them where two would be called alike."""
        short = tuple(f"{beta:g}" for beta in self.betas)
        return short if len(set(short)) == len(short) else tuple(map(repr, self.betas))

    @named_calls
    def configs(self, config: TrainConfig) -> list[TrainConfig]:
        """Returns the configuration of each member, seeds first."""
        return [replace(config, seed=s, beta=beta) for s in self.seeds for beta in self.betas]
