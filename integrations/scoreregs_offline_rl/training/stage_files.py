"""What a finished stage leaves in its folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors_like, save_json, save_tensors
from scoreregs_offline_rl.stages.stage import Stage

__all__ = ["StageReport", "is_finished", "load_stage", "save_stage"]

_REPORT, _WEIGHTS = "report.json", "weights.safetensors"


@dataclass(frozen=True)
class StageReport:
    """How a finished stage went.

    Attributes:
        steps: Gradient steps; 0 for weights that were taken from elsewhere.
        seconds: Wall-clock time of training, over all its interruptions.
        steps_per_second: Their ratio.
        metrics: The last line of metrics.
        source: Where weights that were not trained here come from.
        compile_seconds: Of the time, what the first step of compiled networks took.
    """

    steps: int
    seconds: float
    steps_per_second: float
    metrics: dict[str, float]
    source: str | None = None
    compile_seconds: float = 0.0


def is_finished(folder: Path) -> bool:
    """Returns whether a stage's folder holds it finished; a report without weights is none."""
    return (folder / _REPORT).exists() and (folder / _WEIGHTS).exists()


def save_stage(stage: Stage, folder: Path, report: StageReport) -> None:
    """Writes the weights of a finished stage, then its report, which marks it as finished.

    Raises:
        RunError: where a weight is not finite; the stage stays unfinished.
    """
    save_tensors(folder / _WEIGHTS, stage.state_dict())
    save_json(folder / _REPORT, asdict(report))


def load_stage(stage: Stage, folder: Path) -> StageReport:
    """Returns the report of a finished stage, which is loaded onto the CPU.

    Raises:
        RunError: where the folder holds no finished stage, or one of other sizes.
    """
    try:
        report = StageReport(**load_json(folder / _REPORT))
    except TypeError as error:
        raise RunError(
            f"got another record in {folder / _REPORT} than that of a stage ({error}): remove it, "
            f"and the {stage.name} stage is trained again"
        ) from error
    remedy = f"give the sizes that the {stage.name} stage was trained with"
    stage.load_state_dict(load_tensors_like(folder / _WEIGHTS, stage.state_dict(), remedy=remedy))
    return report
