"""The commands that train: all stages, or one."""

import json
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import tyro
from accelerate import PartialState

from scoreregs_offline_rl.commands.console import Bars, evaluation_line, health_line, score_suffix
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.runs.configuration import STAGES, StageName, TrainConfig, to_dict
from scoreregs_offline_rl.runs.presets import PresetName, preset
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.runs.run_directory import AGENT_FOLDERS, read_config

__all__ = [
    "TRAINING_COMMANDS",
    "TrainingOptions",
    "base_config",
    "show_config",
    "this_command",
    "training_commands",
]

_HELP = {
    "train": "Train a policy on a data set, beside an advantage-weighted actor, and evaluate both.",
    "critic": "Train the critic of a run: implicit Q-learning.",
    "behavior": "Train the behavior model of a run: a diffusion model of the data's actions.",
    "baseline": "Train the advantage-weighted actor of a run, on its finished critic.",
    "policy": "Train the policy of a run, on its finished critic and behavior model.",
}
TRAINING_COMMANDS = (*_HELP, "sweep")
"""Their names."""
_MORE = """
Settings are those of the paper for its tasks, by the name of the data, and Appendix C's for any
other; in a run directory that was used before they are those used before. Interrupt it
whenever you like: the same command goes on.
"""


@dataclass(frozen=True)
class TrainingOptions:
    """What a training command takes beside the configuration."""

    run_dir: Path
    """Where to keep the run; the same command again goes on where it was."""
    preset: PresetName = "default"
    """default: observations are normalised. paper-exact: they are not, as in the paper."""
    show_config: bool = False
    """Print the settings that the run would have, as JSON, and stop."""


def training_commands(arguments: Sequence[str]) -> dict[str, Callable[..., None]]:
    """The commands, with defaults that fit the data or run directory among the arguments."""
    base = base_config(arguments)
    return {name: _command(cast(Any, name), base) for name in _HELP}


def base_config(arguments: Sequence[str]) -> TrainConfig:
    """The settings that the arguments change: the run's own, else the preset of its data."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--data", "--preset"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--run-dir", "--run_dir", nargs="?")
    known, _ = parser.parse_known_args(list(arguments))
    run_dir = Path(known.run_dir) if known.run_dir else None
    if run_dir and (run_dir / "config.json").exists() and known.preset is None:
        return read_config(run_dir)
    if known.data is None:
        return TrainConfig(data=tyro.MISSING)
    # A preset that there is not is refused with the other arguments.
    return preset(known.data, "paper-exact" if known.preset == "paper-exact" else "default")


def show_config(
    config: TrainConfig, stages: Sequence[StageName], bars: Bars, more: dict[str, Any]
) -> None:
    """Print the settings that these stages would have, after others, as JSON."""
    data = load_data(config.data, config.loading, progress=bars.download)
    print(json.dumps(more | to_dict(resolve(config, data, stages)), indent=2))


def this_command() -> str:
    """The command line that is running, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _command(name: StageName | str, base: TrainConfig) -> Callable[..., None]:
    some: tuple[StageName, ...] = STAGES if name == "train" else (cast(StageName, name),)

    def command(
        options: Annotated[TrainingOptions, tyro.conf.arg(name="")],
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
        stages: tuple[StageName, ...] = some,
    ) -> None:
        _train(config, options, stages)

    def stage_command(
        options: Annotated[TrainingOptions, tyro.conf.arg(name="")],
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
    ) -> None:
        _train(config, options, some)

    chosen = command if name == "train" else stage_command
    more = f"\n{_MORE}\n\nArgs:\n    stages: Those to train." if name == "train" else ""
    chosen.__doc__ = f"{_HELP[name]}{more}"
    return chosen


def _train(config: TrainConfig, options: TrainingOptions, stages: Sequence[StageName]) -> None:
    with Bars() as bars:
        if options.show_config:
            show_config(config, stages, bars, {})
            return
        result = train(
            config,
            options.run_dir,
            stages=stages,
            progress=bars,
            download_progress=bars.download,
            command=this_command(),
        )
    if PartialState().is_main_process:
        _print_result(result, options.run_dir)


def _print_result(result: dict[str, Any], run_dir: Path) -> None:
    for finding in result["health"].values():
        print(health_line(finding))
    for stage in AGENT_FOLDERS:
        if result[stage] is not None:
            print(evaluation_line(stage, EvaluationResult.from_dict(result[stage])))
    print(f"data: return {result['data_return']:.1f}{score_suffix(result['data_score'])}")
    print(f"{result['seconds']:.0f} seconds, everything in {run_dir}")
