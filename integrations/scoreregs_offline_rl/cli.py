"""The command line, `scoreregs-offline-rl`."""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from accelerate import PartialState
from tqdm import tqdm

from scoreregs.errors import ScoreRegsError
from scoreregs_offline_rl.comparison import compare_runs
from scoreregs_offline_rl.comparison_plot import draw_comparison
from scoreregs_offline_rl.configuration import TrainConfig
from scoreregs_offline_rl.evaluation import EvaluationResult
from scoreregs_offline_rl.export import export_onnx
from scoreregs_offline_rl.inspection import inspect_data
from scoreregs_offline_rl.inspection_plot import draw_inspection
from scoreregs_offline_rl.inspection_report import format_inspection
from scoreregs_offline_rl.loading import LoadingConfig
from scoreregs_offline_rl.models import load_policy
from scoreregs_offline_rl.run import evaluate_run, train
from scoreregs_offline_rl.sources import load_data
from scoreregs_offline_rl.video import record_video

__all__ = ["main"]

_INTERRUPTED = 130
_LOADING = LoadingConfig()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 after an error of the user's.

    Args:
        arguments: In place of those of the process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("scoreregs_offline_rl").setLevel(logging.INFO)
    commands = {
        "inspect": _inspect,
        "train": _train,
        "evaluate": _evaluate,
        "report": _report,
        "export": _export,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="scoreregs-offline-rl", args=arguments, use_underscores=False
        )
    except ScoreRegsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the newest checkpoint", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _inspect(
    source: tyro.conf.Positional[str],
    loading: LoadingConfig = _LOADING,
    picture: Path | None = None,
) -> None:
    """Print what a data set holds and what in it may go wrong, and draw a picture of it.

    Args:
        source: An HDF5 or NPZ file, a D4RL name, a Minari id or folder, or pendulum-swingup.
        loading: How it is read.
        picture: The PNG to draw; None: the data's name with .inspection.png, in this folder.
    """
    with _Bars() as bars:
        data = load_data(source, loading, progress=bars.download)
    inspection = inspect_data(data)
    print(format_inspection(inspection))
    picture = picture or Path(f"{Path(source).stem}.inspection.png")
    draw_inspection(data, inspection, picture)
    print(f"\npicture: {picture}")


def _train(config: Annotated[TrainConfig, tyro.conf.arg(name="")], run_dir: Path) -> None:
    """Train a policy on a data set, beside an advantage-weighted actor, and evaluate both.

    Args:
        config: What to do.
        run_dir: Where to keep it; the same command again goes on where it was.
    """
    with _Bars() as bars:
        result = train(
            config,
            run_dir,
            progress=bars,
            download_progress=bars.download,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
    if not PartialState().is_main_process:
        return
    for name, label in (("policy", "policy"), ("baseline", "advantage-weighted actor")):
        print(_line(label, EvaluationResult.from_dict(result[name])))
    print(f"data: return {result['data_return']:.1f}{_score(result['data_score'])}")
    print(f"{result['seconds']:.0f} seconds, everything in {run_dir}")


def _evaluate(
    run_dir: tyro.conf.Positional[Path],
    episodes: int = 20,
    seed: int = 0,
    video: Path | None = None,
) -> None:
    """Evaluate the policies of a finished run.

    Args:
        run_dir: The run's directory.
        episodes: Episodes of each policy.
        seed: Seed of the first episode; the others follow.
        video: Film the policy's first episode into this .gif or .mp4.
    """
    for name, result in evaluate_run(run_dir, episodes, seed).items():
        print(_line(name, result))
    if video is not None:
        policy = load_policy(run_dir)
        filmed = record_video(policy, str(policy.environment), video, seed=seed)
        print(f"video: {video}, return {filmed.mean:.1f}")


def _report(
    run_dirs: tyro.conf.Positional[tuple[Path, ...]], picture: Path = Path("comparison.png")
) -> None:
    """Compare finished runs: a table and a picture, seeds of one configuration together.

    Args:
        run_dirs: The runs' directories.
        picture: The PNG to draw.
    """
    comparison = compare_runs(run_dirs)
    print(comparison.table())
    draw_comparison(comparison, picture)
    print(f"\npicture: {picture}")


def _export(
    run_dir: tyro.conf.Positional[Path],
    path: tyro.conf.Positional[Path],
    to: Literal["onnx", "hub"],
    stage: Literal["policy", "baseline"] = "policy",
    licence: str | None = None,
) -> None:
    """Write a policy of a finished run for use elsewhere, with its statistics and bounds.

    Args:
        run_dir: The run's directory.
        path: The file for onnx, the folder for hub.
        to: onnx: one file, compared with PyTorch. hub: weights, configuration and model card as
            the Hugging Face Hub has them, for TrainedPolicy.from_pretrained.
        stage: What trained the policy.
        licence: Of the weights, for the model card, as the Hub names it: mit, cc-by-4.0.
    """
    policy = load_policy(run_dir, stage)
    if to == "onnx":
        exported = export_onnx(policy, path)
        print(f"{path}: within {exported.error:.1g} of PyTorch, relative to the actions' range")
    else:
        policy.save_pretrained(path, model_card_kwargs={"license": licence})
        print(f"{path}: {', '.join(sorted(file.name for file in path.iterdir()))}")


def _line(label: str, result: EvaluationResult) -> str:
    interval = ""
    if result.interval is not None:
        interval = f", 95 % interval {result.interval[0]:.1f} to {result.interval[1]:.1f}"
    episodes = f"{len(result.returns)} episodes of {result.environment}"
    score = _score(result.normalized_score)
    return f"{label}: return {result.mean:.1f}{interval}{score}, {episodes}"


def _score(score: float | None) -> str:
    return "" if score is None else f", normalised score {score:.1f}"


class _Bars:
    """A progress bar for each stage, and for a download."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""
        self._metrics: dict[str, float] = {}

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
        if self._bar is None or stage != self._stage:
            self.__exit__()
            self._bar = tqdm(total=steps, initial=step - 1, desc=f"{stage:>8}", unit="step")
            self._stage = stage
        self._bar.update(step - self._bar.n)
        if metrics is not self._metrics:
            self._metrics = metrics
            self._bar.set_postfix({name: f"{value:.3g}" for name, value in metrics.items()})

    def download(self, received: int, total: int | None) -> None:
        if self._bar is None or self._stage != "download":
            self.__exit__()
            self._stage = "download"
            self._bar = tqdm(
                total=total, initial=received, desc="download", unit="B", unit_scale=True
            )
        self._bar.update(received - self._bar.n)
