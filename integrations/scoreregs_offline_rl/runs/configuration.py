"""The configuration of a run; defaults are the paper's Appendix C (`presets` adapts them)."""

from dataclasses import dataclass, field, replace
from typing import Literal

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import Finite, Natural, Positive, check_settings, require
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.environments.making import leave_intervals
from scoreregs_offline_rl.evaluation.settings import EvaluationConfig
from scoreregs_offline_rl.stages.registry import StageRows, Stages, stages_of
from scoreregs_offline_rl.training.settings import TrainerConfig

__all__ = ["STAGES", "TrainConfig", "usual_stages"]


@dataclass(frozen=True)
class _Inputs:
    """What comes before any stage."""

    data: str
    """An HDF5 file in D4RL's layout, an NPZ file, a D4RL name (hopper-medium-v2), a Minari id
    (mujoco/hopper/medium-v0) or folder, a LeRobot id (lerobot/pusht) or folder, an OGBench name
    with its task, or the embedded pendulum-swingup."""
    beta: Positive | None = None
    """Temperature of Eq. 15: large follows the value, small stays with the data. None: one of
    `policy.beta_choices`, or that of the paper's Table 2, for its tasks."""
    seed: Natural = 0
    """Seed of weights, batches and noise."""
    minutes: Positive | None = None
    """What a run may take in all on this machine: its steps are changed by one factor, up to four
    times as many, by what a step takes before the first one; the same run goes on with the same
    steps. None: the steps are as they are."""
    normalize_observations: bool = True
    """Whether networks see observations less the data's mean, over its standard deviation."""
    minimum_std: Positive | None = None
    """Least standard deviation that observations are divided by; None: whatever it is, so that the
    unit does not matter. Directories of version 0.1 go on with its 0.001."""
    rewards: Literal["return_range", "antmaze", "none", "success"] | None = None
    """How rewards are scaled: by 1000 over the range of returns, less one, or not at all. None: not
    at all where they are 0 and 1, for success, and else by the range of returns. success: short for
    `loading.rewards`, 1 at the end of each successful episode in place of the file's own."""
    action_low: tuple[Finite, ...] | None = None
    """Lowest action, one number or one for each dimension; None: the environment's, else the lowest
    in the data."""
    action_high: tuple[Finite, ...] | None = None
    """Highest action, likewise; above the lowest."""
    hand_over_recommended: bool = False
    """Whether `load_policy` and `export`, where no stage is named, take what the verdict of the run
    recommends, which may be the clone, or always the policy of Eq. 15."""
    loading: LoadingConfig = field(default_factory=LoadingConfig)


@named_calls
@dataclass(frozen=True)
class TrainConfig(StageRows, _Inputs):
    """Everything that a run depends on.

    Its stages are those of the package. A frozen dataclass derived from it adds rows of its own,
    `mine: MyConfig = row(MyStage, MyConfig)`, which are trained, resumed, swept and compared alike.

    Raises:
        ArgumentError: a setting, or a stage's row, is not what it has to be.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        self.stages()
        check_settings(self)
        if self.rewards == "success":
            # They are made as the data is read, and then scaled as others of 0 and 1 are.
            object.__setattr__(self, "loading", replace(self.loading, rewards="success"))
            object.__setattr__(self, "rewards", None)
        _check_bounds(self.action_low, self.action_high)
        every, log_every = self.evaluation.every, self.trainer.log_every
        expected = f"a multiple of trainer.log_every, which is {log_every}"
        require(every % log_every == 0, "evaluation.every", every, expected)

    @classmethod
    def stages(cls) -> Stages:
        """Returns the stages by name, in the order in which they are trained."""
        return stages_of(cls)


def _check_bounds(low: tuple[float, ...] | None, high: tuple[float, ...] | None) -> None:
    """Raises `ArgumentError` unless two bounds of actions leave an interval in every dimension."""
    name, got = "action_low and action_high", (low, high)
    require((low is None) == (high is None), name, got, "both, or neither")
    if low is None or high is None:
        return
    sizes = {len(low), len(high)}
    require(0 not in sizes and len(sizes - {1}) < 2, name, got, "as many of one as of the other")
    within = leave_intervals(low, high)
    require(within, name, got, "each low below its high, as float32 holds them")


STAGES = tuple(TrainConfig.stages())
"""The names of the package's stages, in the order in which they are trained."""


def usual_stages(stages: Stages) -> tuple[str, ...]:
    """Returns the names of those that `train` trains where none are named."""
    return tuple(name for name, stage in stages.items() if stage.usual)
