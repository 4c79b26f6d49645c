"""The commands that look at data and at finished runs."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.commands.console import Bars, evaluation_line, health_line
from scoreregs_offline_rl.data.interface import MachineInterface
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.deployment.export import export_onnx
from scoreregs_offline_rl.evaluation.video import check_film, record_video
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.inspection.inspection import inspect_data
from scoreregs_offline_rl.inspection.plot import draw_inspection
from scoreregs_offline_rl.inspection.report import format_inspection
from scoreregs_offline_rl.runs.comparison import compare_runs
from scoreregs_offline_rl.runs.comparison_plot import draw_comparison
from scoreregs_offline_rl.runs.models import diagnose as diagnose_run
from scoreregs_offline_rl.runs.models import load_policy
from scoreregs_offline_rl.runs.offline_figures import lacks_evaluation, offline_figures
from scoreregs_offline_rl.runs.run import evaluate_run

__all__ = ["diagnose", "evaluate", "export", "inspect", "report"]

_LOADING = LoadingConfig()
_RunDir = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN-DIR")]


def inspect(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    loading: LoadingConfig = _LOADING,
    picture: Path | None = None,
) -> None:
    """Print what a data set holds and what in it may go wrong, and draw a picture of it.

    Args:
        source: An HDF5 or NPZ file, a D4RL or OGBench name, a Minari or LeRobot id or folder, or
            pendulum-swingup.
        loading: How it is read.
        picture: The PNG to draw; None: the data's name with .inspection.png, in this folder.
    """
    with Bars() as bars:
        data = load_data(source, loading, progress=bars.download)
    inspection = inspect_data(data)
    print(format_inspection(inspection))
    picture = picture or Path(f"{Path(source).stem}.inspection.png")
    draw_inspection(data, inspection, picture)
    print(f"\npicture: {picture}")


def diagnose(run_dir: _RunDir) -> None:
    """Check critic, behavior model and policy of a run, without a simulator.

    Args:
        run_dir: The run's directory.
    """
    for finding in diagnose_run(run_dir).values():
        print(health_line(dataclasses.asdict(finding) | {"ok": finding.ok}))


def evaluate(
    run_dir: _RunDir,
    episodes: int = 20,
    seed: int = 0,
    environment: str | None = None,
    video: Path | None = None,
    stage: str | None = None,
) -> None:
    """Evaluate the policies of a finished run.

    Args:
        run_dir: The run's directory.
        episodes: Episodes of each policy.
        seed: Seed of the first episode; the others follow.
        environment: Gymnasium id; None: the one that the run was trained for.
        video: Film a policy's first episode into this .gif or .mp4.
        stage: Whose policy is filmed; None: that of policy where there is one, else the only one.
    """
    # Refused before the episodes, not after them.
    if video is not None:
        check_film(video)
    policy = None if video is None and stage is None else load_policy(run_dir, stage)
    for name, result in evaluate_run(run_dir, episodes, seed, environment=environment).items():
        print(evaluation_line(name, result))
    if video is not None and policy is not None:
        filmed = record_video(policy, environment or str(policy.environment), video, seed=seed)
        print(f"video: {video}, return {filmed.mean:.1f}")


def report(
    run_dirs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN-DIR...")
    ],
    picture: Path = Path("comparison.png"),
) -> None:
    """Compare finished runs: a table and a picture, seeds of one configuration together.

    Of runs without an environment it prints, one by one, how far each policy's actions are from the
    data's, how likely the behavior model finds them, and what the critic makes of them.

    Args:
        run_dirs: The runs' directories.
        picture: The PNG to draw.
    """
    if not run_dirs:
        raise ArgumentError("got no run directories, expected at least one: name them")
    offline = [run_dir for run_dir in run_dirs if lacks_evaluation(run_dir)]
    for run_dir in offline:
        print(f"{run_dir}, without an environment:\n\n{offline_figures(run_dir).table()}\n")
    if evaluated := [run_dir for run_dir in run_dirs if run_dir not in offline]:
        comparison = compare_runs(evaluated)
        print(comparison.table())
        draw_comparison(comparison, picture)
        print(f"\npicture: {picture}")


def export(
    run_dir: _RunDir,
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DESTINATION")],
    to: Literal["onnx", "hub"],
    stage: str | None = None,
    licence: str | None = None,
    interface: Path | None = None,
) -> None:
    """Write a policy of a finished run for use elsewhere, with its statistics and bounds.

    Args:
        run_dir: The run's directory.
        path: The file for onnx, the folder for hub.
        to: onnx: one file, compared with PyTorch. hub: weights, configuration and model card as
            the Hugging Face Hub has them, for TrainedPolicy.from_pretrained.
        stage: What trained the policy: policy, awr, cloning, td3_bc, or a stage of your own. None:
            policy, or with --hand-over-recommended the one that the verdict recommends; where there
            is no policy, the only one.
        licence: Of the weights, for the model card and the manifest, as the Hub names it: mit,
            cc-by-4.0.
        interface: JSON with what the policy's numbers are on its machine: observations and actions,
            lists of name and unit in the policy's order, and rate in hertz.
    """
    policy = load_policy(run_dir, stage)
    if interface is not None:
        policy.interface = MachineInterface.from_dict(load_json(interface))
        policy.interface.check_sizes(len(policy.observation_mean), len(policy.action_low))
    if to == "onnx":
        exported = export_onnx(policy, path, licence=licence)
        print(f"{path}: within {exported.error:.1g} of PyTorch, relative to the actions' range")
        print(f"{exported.manifest}: its names, units, bounds, rate, licence and digest")
    else:
        policy.save_pretrained(path, model_card_kwargs={"license": licence})
        print(f"{path}: {', '.join(sorted(file.name for file in path.iterdir()))}")
