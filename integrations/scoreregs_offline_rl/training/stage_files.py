"""What a finished stage leaves in its folder."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors_like, save_json, save_tensors
from scoreregs_offline_rl.stages.stage import Stage

__all__ = [
    "StageReport",
    "check_identity",
    "identity_of",
    "is_finished",
    "load_report",
    "load_stage",
    "save_stage",
]

_REPORT, _WEIGHTS = "report.json", "weights.safetensors"


@dataclass(frozen=True)
class StageReport:
    """How a finished stage went.

    Attributes:
        steps: gradient steps; 0 for weights that were taken from elsewhere.
        seconds: wall-clock time of training, over all its interruptions.
        steps_per_second: their ratio.
        metrics: the last line of metrics.
        source: where weights that were not trained here come from.
        compile_seconds: of the time, what the first step of compiled networks took.
        identity: the settings that say what the weights mean, beside the sizes.
        lost: labels of a sweep's members whose weights stopped being finite, and are 0.
        unmoved: how many rows did not move as their gradient was not finite, by the label of their
            member, "" for the only one.
        skipped: how many steps moved nothing, as their gradient overflowed float16.
    """

    steps: int
    seconds: float
    steps_per_second: float
    metrics: dict[str, float]
    source: str | None = None
    compile_seconds: float = 0.0
    identity: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    unmoved: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    def unmoved_of(self, labels: Collection[str]) -> int:
        """Returns the rows that did not move of some members, by their labels."""
        return sum(self.unmoved.get(label, 0) for label in labels)


def is_finished(folder: Path) -> bool:
    """Returns whether a stage's folder holds it finished; a report without weights is none."""
    return (folder / _REPORT).exists() and (folder / _WEIGHTS).exists()


def save_stage(stage: Stage, folder: Path, report: StageReport) -> None:
    """Writes the weights of a finished stage, then its report, which marks it as finished.

    Raises:
        RunError: where a weight is not finite; the stage stays unfinished.
    """
    save_tensors(folder / _WEIGHTS, stage.state_dict())
    save_json(folder / _REPORT, asdict(replace(report, identity=identity_of(stage))))


def load_stage(stage: Stage, folder: Path) -> StageReport:
    """Returns the report of a finished stage, which is loaded onto the CPU.

    Raises:
        RunError: where the folder holds no finished stage, or one of other sizes.
    """
    report = load_report(folder)
    check_identity(stage, report.identity, folder)
    remedy = f"give the sizes that the {stage.name} stage was trained with"
    stage.load_state_dict(load_tensors_like(folder / _WEIGHTS, stage.state_dict(), remedy=remedy))
    return report


def load_report(folder: Path) -> StageReport:
    """Returns the report of a finished stage.

    Raises:
        RunError: where the folder holds none, or something else under its name.
    """
    try:
        return StageReport(**load_json(folder / _REPORT))
    except TypeError as error:
        raise RunError(
            f"got another record in {folder / _REPORT} than that of a stage ({error}): remove it, "
            f"and the {folder.name} stage is trained again"
        ) from error


def identity_of(stage: Stage[Any]) -> dict[str, Any]:
    """Returns the settings that say, beside the sizes, what a stage's weights mean."""
    return {name: getattr(stage.config, name) for name in stage.identity}


def check_identity(stage: Stage[Any], identity: dict[str, Any], source: Path) -> None:
    """Raises `RunError` where weights mean something else than a stage takes them for.

    Args:
        stage: that is to have them.
        identity: of the weights; what an older version did not write is the default.
        source: where they come from.
    """
    for name in stage.identity:
        ours, theirs = getattr(stage.config, name), identity.get(name, _default(stage.config, name))
        if ours != theirs:
            raise RunError(
                f"got {stage.name} weights of {name} {theirs!r} in {source}, expected {ours!r}: "
                f"give --{stage.name}.{name} {theirs}, or other weights"
            )


def _default(config: Any, name: str) -> Any:
    return next(field.default for field in fields(config) if field.name == name)
