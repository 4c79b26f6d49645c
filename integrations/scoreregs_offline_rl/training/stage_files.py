"""What a finished stage leaves in its folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json, save_tensors
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
    """Whether a stage's folder holds it finished."""
    return (folder / _REPORT).exists()


def save_stage(stage: Stage, folder: Path, report: StageReport) -> None:
    """Write the weights of a finished stage, then its report, which marks it as finished."""
    save_tensors(folder / _WEIGHTS, stage.state_dict())
    save_json(folder / _REPORT, asdict(report))


def load_stage(stage: Stage, folder: Path) -> StageReport:
    """Load a finished stage, onto the CPU, and its report.

    Raises:
        RunError: The folder holds no finished stage, or one of other sizes.
    """
    report = StageReport(**load_json(folder / _REPORT))
    try:
        stage.load_state_dict(load_tensors(folder / _WEIGHTS))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise RunError(
            f"got weights of another size in {folder} ({first}), expected those of this "
            f"configuration: give the sizes that the {stage.name} stage was trained with"
        ) from error
    return report
