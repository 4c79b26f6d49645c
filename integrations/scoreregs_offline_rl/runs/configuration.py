"""The configuration of a run; defaults are the paper's Appendix C (`presets` adapts them)."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, get_type_hints

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.loading import LoadingConfig

__all__ = [
    "STAGES",
    "BaselineConfig",
    "BehaviorConfig",
    "CriticConfig",
    "EvaluationConfig",
    "PolicyConfig",
    "StageName",
    "TrainConfig",
    "TrainerConfig",
    "differences",
    "from_dict",
    "to_dict",
]

T = TypeVar("T")

StageName = Literal["critic", "behavior", "baseline", "policy"]
STAGES: tuple[StageName, ...] = ("critic", "behavior", "baseline", "policy")
"""The stages of training in their order."""


def _require(condition: bool, name: str, got: object, expected: str) -> None:
    if not condition:
        raise ArgumentError(f"got {name} = {got!r}, expected {expected}: change it")


def _require_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        label = f"{type(config).__name__}.{name}"
        _require(value > 0, label, value, "a number above 0")


@dataclass(frozen=True)
class CriticConfig:
    """Implicit Q-learning."""

    steps: int = 1_500_000
    """Gradient steps."""
    batch_size: int = 256
    """Transitions of a step, over all processes."""
    learning_rate: float = 3e-4
    """Of Adam."""
    decay: bool = False
    """Whether the learning rate falls to zero over the run, by a cosine: for runs of few steps."""
    expectile: float = 0.7
    """Expectile tau of the state value, in (0, 1); the paper takes 0.9 for AntMaze."""
    discount: float = 0.99
    """Discount of a step, in [0, 1)."""
    target_rate: float = 0.005
    """Share of the new Q in its moving average, in (0, 1]."""
    layers: int = 2
    """Hidden layers."""
    width: int = 256
    """Units of a hidden layer."""
    weights: str | None = None
    """Finished weights to take instead of training: the directory of another run on the same data,
    or a checkpoint of the paper's code."""

    def __post_init__(self) -> None:
        _require_positive(self, "steps", "batch_size", "learning_rate", "layers", "width")
        _require(0 < self.expectile < 1, "critic.expectile", self.expectile, "0 < expectile < 1")
        _require(0 <= self.discount < 1, "critic.discount", self.discount, "0 <= discount < 1")
        rate = self.target_rate
        _require(0 < rate <= 1, "critic.target_rate", rate, "0 < target_rate <= 1")


@dataclass(frozen=True)
class BehaviorConfig:
    """The diffusion model of the data's actions."""

    steps: int = 2_000_000
    """Gradient steps."""
    batch_size: int = 2048
    """Transitions of a step, over all processes."""
    learning_rate: float = 3e-4
    """Of AdamW."""
    decay: bool = False
    """Whether the learning rate falls to zero over the run, by a cosine: for runs of few steps."""
    weight_decay: float = 0.01
    """Of AdamW."""
    dropout: float = 0.1
    """Share of a block's inputs that is dropped in training, in [0, 1)."""
    blocks: int = 3
    """Residual blocks."""
    width: int = 256
    """Units of a block."""
    first_time: float = 1e-3
    """Times are uniform between this and 1."""
    held_out: int = 1024
    """Rows that are kept out of training to judge the fit by, at most a twentieth of the data; 0:
    it is judged by rows of training."""
    weights: str | None = None
    """Finished weights to take instead of training: the directory of another run on the same data,
    or a checkpoint of the paper's code."""

    def __post_init__(self) -> None:
        _require_positive(self, "steps", "batch_size", "learning_rate", "blocks", "width")
        _require(self.held_out >= 0, "behavior.held_out", self.held_out, "at least 0")
        _require(0 <= self.dropout < 1, "behavior.dropout", self.dropout, "0 <= dropout < 1")
        first = self.first_time
        _require(0 < first < 1, "behavior.first_time", first, "0 < first_time < 1")


@dataclass(frozen=True)
class PolicyConfig:
    """The extraction of the policy, Eq. 15."""

    steps: int = 1_000_000
    """Gradient steps, over which the learning rate decays to zero."""
    batch_size: int = 256
    """Observations of a step, over all processes."""
    learning_rate: float = 3e-4
    """Of Adam, at the start."""
    layers: int = 2
    """Hidden layers; the paper takes 4 for AntMaze."""
    width: int = 256
    """Units of a hidden layer."""
    times: tuple[float, float] = (0.02, 0.98)
    """Diffusion times are uniform between these."""
    points: Literal["independent", "stratified", "low_discrepancy"] = "independent"
    """How times are spread over a batch; the latter two are even, for a smaller variance."""
    draws: int = 1
    """Times and noises that the prior's gradient is averaged over for each observation."""
    weighting: Literal["sigma2", "uniform", "alpha_over_sigma"] = "sigma2"
    """Weight of the prior over time."""
    baseline: Literal["noise", "none"] = "noise"
    """What is subtracted from the prior's noise prediction."""
    normalize: Literal["l2", "rms"] | None = None
    """Norm of the value's gradient that beta is relative to; None: beta is absolute."""
    beta_on: Literal["prior", "value"] = "prior"
    """Whether the prior is divided by beta (the paper) or the value multiplied (its code)."""

    def __post_init__(self) -> None:
        _require_positive(self, "steps", "batch_size", "learning_rate", "layers", "width", "draws")


@dataclass(frozen=True)
class BaselineConfig:
    """The advantage-weighted actor that is compared with; its network is the policy's."""

    steps: int | None = None
    """Gradient steps; None: as many as the policy stage."""
    batch_size: int = 256
    """Transitions of a step, over all processes."""
    learning_rate: float = 3e-4
    """Of Adam, at the start."""
    advantage_scale: float = 3.0
    """Factor of the advantage in the exponent; 10 is usual for AntMaze, and 0 is cloning."""
    clip: float = 100.0
    """Largest weight."""

    def __post_init__(self) -> None:
        _require_positive(self, "batch_size", "learning_rate", "clip")
        scale = self.advantage_scale
        _require(scale >= 0, "baseline.advantage_scale", scale, "at least 0")
        _require(self.steps is None or self.steps > 0, "baseline.steps", self.steps, "at least 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """Roll-outs of the finished policies."""

    environment: str | None = None
    """Gymnasium id, as Hopper-v5; None: the one that the data names, if it is installed."""
    episodes: int = 20
    """Episodes, one in each of as many environments; 0: no evaluation."""
    seed: int = 0
    """Seed of the first environment; the others follow."""
    every: int = 0
    """Steps between evaluations of the policy while it trains, a multiple of `trainer.log_every`,
    for the learning curve; 0: only the finished policy."""

    def __post_init__(self) -> None:
        _require(self.episodes >= 0, "evaluation.episodes", self.episodes, "at least 0")
        _require(self.every >= 0, "evaluation.every", self.every, "at least 0")


@dataclass(frozen=True)
class TrainerConfig:
    """How the stages are run."""

    log_every: int = 1000
    """Steps that a line of metrics is averaged over."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints are kept."""
    mixed_precision: Literal["no", "fp16", "bf16"] | None = None
    """Precision of the forward pass; None: what `accelerate launch` says, else full."""
    compile: bool | None = None
    """Whether the behavior network is compiled for its training, which takes a quarter of a minute;
    None: where it is trained for 50,000 steps or more and PyTorch finds a compiler."""
    cpu: bool = False
    """Stay on the CPU where there is an accelerator."""
    log_with: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Accelerate's trackers."""

    def __post_init__(self) -> None:
        _require_positive(self, "log_every", "checkpoint_every", "keep_checkpoints")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on."""

    data: str
    """An HDF5 file in D4RL's layout, an NPZ file, a D4RL name (hopper-medium-v2), a Minari id
    (mujoco/hopper/medium-v0) or folder, or the embedded pendulum-swingup."""
    beta: float | None = None
    """Temperature of Eq. 15: large follows the value, small stays with the data. None: that of the
    paper's Table 2, for its tasks."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    normalize_observations: bool = True
    """Whether networks see observations less the data's mean, over its standard deviation."""
    rewards: Literal["return_range", "antmaze", "none"] = "return_range"
    """How rewards are scaled: by 1000 over the range of returns, less one, or not at all."""
    action_low: tuple[float, ...] | None = None
    """Lowest action, one number or one for each dimension; None: the environment's, else the lowest
    in the data."""
    action_high: tuple[float, ...] | None = None
    """Highest action, likewise."""
    loading: LoadingConfig = field(default_factory=LoadingConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        valid = self.beta is None or (self.beta > 0 and math.isfinite(self.beta))
        _require(valid, "beta", self.beta, "a finite temperature above 0")
        both = (self.action_low is None) == (self.action_high is None)
        _require(both, "action_low and action_high", (self.action_low, self.action_high), "both")
        every, log_every = self.evaluation.every, self.trainer.log_every
        expected = f"a multiple of trainer.log_every, which is {log_every}"
        _require(every % log_every == 0, "evaluation.every", every, expected)


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries that JSON can hold.

    Example:
        >>> to_dict(EvaluationConfig())
        {'environment': None, 'episodes': 20, 'seed': 0, 'every': 0}
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type[T], content: dict[str, Any]) -> T:
    """A configuration of a kind from what `to_dict` gave.

    Raises:
        ArgumentError: A name is unknown, or a value is out of its range.

    Example:
        >>> from_dict(EvaluationConfig, {"episodes": 5}).episodes
        5
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(content) - set(hints))
    _require(not unknown, kind.__name__, unknown, f"names out of {sorted(hints)}")
    values = {}
    for name, value in content.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = from_dict(cast(type, hints[name]), value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """The names, dotted, whose values differ between two configurations as dictionaries.

    Example:
        >>> differences({"seed": 0, "critic": {"steps": 5}}, {"seed": 0, "critic": {"steps": 6}})
        ['critic.steps: 5 before, 6 now']
    """
    found = []
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old!r} before, {new!r} now")
    return found
