"""The commands that train: all stages, or one."""

import json
import logging
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro
from accelerate import PartialState

from scoreregs_offline_rl.commands.console import (
    Bars,
    evaluation_line,
    health_line,
    score_suffix,
    verdict_line,
)
from scoreregs_offline_rl.commands.overview import TRAIN
from scoreregs_offline_rl.configuration import to_dict
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.presets import PresetName, preset
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.run import rehearse, train
from scoreregs_offline_rl.stages.registry import actors_of

__all__ = [
    "TRAINING_COMMANDS",
    "TrainingOptions",
    "base_config",
    "show_config",
    "this_command",
    "todays_words",
    "training_commands",
]

logger = logging.getLogger(__name__)

_STAGES = TrainConfig.stages()
_HELP = {
    "train": TRAIN,
    **{name: stage.help for name, stage in _STAGES.items()},
}
TRAINING_COMMANDS = (*_HELP, "sweep")
"""Their names."""
_MORE = """
Settings are those of the preset, laptop by default; in a run directory that was used before they
are those used before. Interrupt it whenever you like: the same command goes on.
"""


@dataclass(frozen=True)
class TrainingOptions:
    """What a training command takes beside the configuration."""

    run_dir: Path
    """Where to keep the run; the same command again goes on where it was."""
    preset: PresetName = "laptop"
    """laptop: minutes on two cores, the same settings for any data. paper: the paper's for its
    tasks, by the name of the data, and Appendix C's for any other, observations normalised.
    paper-exact: likewise, observations as they are. default: what older versions called paper."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A finished run to begin with, in a new directory: its settings are the defaults, and stages
    that the other options, as more --policy.steps, leave as they are need no training."""
    show_config: bool = False
    """Print the settings that the run would have, as JSON, and stop."""
    dry_run: bool = False
    """Print the stages, their steps and how long each takes, and stop; nothing is written."""


def todays_words(arguments: Sequence[str]) -> list[str]:
    """Returns arguments with the stages under the names that they have today, without hyphens.

    Example:
        >>> todays_words(["baseline", "--baseline.clip", "50"])
        ['awr', '--awr.clip', '50']
        >>> todays_words(["train", "--stages", "td3-bc"])
        ['train', '--stages', 'td3_bc']
    """
    words = list(arguments)
    for place in (0, *_behind(words, "--stages")):
        written = words[place].replace("-", "_") if place < len(words) else ""
        if written in _STAGES:
            words[place] = written
    for name, stage in _STAGES.items():
        for former in stage.former_names:
            option = re.compile(rf"--{former}\.(.+)")
            found = [option.sub(rf"--{name}.\1", word) for word in words]
            # A stage is a word by itself as the command and behind --stages alone.
            listed = _behind(words, "--stages")
            for place in (0, *listed):
                if place < len(found) and found[place] == former:
                    found[place] = name
            if found != words:
                logger.warning("%s is called %s now", former, name)
            words = found
    return words


def _behind(words: Sequence[str], option: str) -> range:
    """Returns the places of the words that belong to an option."""
    if option not in words:
        return range(0)
    first = words.index(option) + 1
    ends = [place for place in range(first, len(words)) if words[place].startswith("--")]
    return range(first, min([*ends, len(words)]))


def training_commands(arguments: Sequence[str]) -> dict[str, Callable[..., None]]:
    """Returns the commands, with defaults that fit the data or run directory that are given."""
    base = base_config(arguments)
    return {name: _command(name, base) for name in _HELP}


def base_config(arguments: Sequence[str]) -> TrainConfig:
    """Returns the settings that the arguments change: the run's own, else its data's preset."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--data", "--preset", "--from"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--run-dir", "--run_dir", nargs="?")
    known, _ = parser.parse_known_args(list(arguments))
    run_dir = Path(known.run_dir) if known.run_dir else None
    if run_dir and (run_dir / "config.json").exists() and known.preset is None:
        return RunDirectory(run_dir).read_config()
    if (source := getattr(known, "from")) is not None:
        # Its steps are not to be chosen again, but a temperature fits what it was chosen for.
        directory = RunDirectory(source)
        before = replace(directory.read_config(), minutes=None)
        return before if directory.chosen_beta() is None else replace(before, beta=None)
    if known.data is None:
        # The defaults of the class, which lacks its data.
        return tyro.MISSING_NONPROP
    # A preset that there is not is refused with the other arguments.
    return preset(known.data, known.preset if known.preset in get_args(PresetName) else "laptop")


def show_config(
    config: TrainConfig, stages: Sequence[str] | None, bars: Bars, more: dict[str, Any]
) -> None:
    """Prints the settings that these stages would have, after others, as JSON."""
    data = load_data(config.data, config.loading, progress=bars.download)
    print(json.dumps(more | to_dict(resolve(config, data, stages)), indent=2))


def this_command() -> str:
    """Returns the command line that is running, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _command(name: str, base: TrainConfig) -> Callable[..., None]:
    some = None if name == "train" else (name,)

    def command(
        options: Annotated[TrainingOptions, tyro.conf.arg(name="")],
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
        stages: tuple[str, ...] | None = some,
    ) -> None:
        _train(config, options, stages)

    def stage_command(
        options: Annotated[TrainingOptions, tyro.conf.arg(name="")],
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
    ) -> None:
        _train(config, options, some)

    command.__annotations__["stages"] = tuple[Literal[tuple(_STAGES)], ...] | None
    chosen = command if name == "train" else stage_command
    of_stages = (
        "stages: Those to train; None: the policy, what it builds on, and advantage-weighted "
        "regression beside it."
    )
    more = f"\n{_MORE}\n\nArgs:\n    {of_stages}" if name == "train" else ""
    chosen.__doc__ = f"{_HELP[name]}{more}"
    return chosen


def _train(config: TrainConfig, options: TrainingOptions, stages: Sequence[str] | None) -> None:
    with Bars() as bars:
        if options.show_config:
            show_config(config, stages, bars, {})
            return
        if options.dry_run:
            more = {"download_progress": bars.download, "source": options.source}
            bars.plan(rehearse(config, options.run_dir, stages=stages, **more))
            return
        result = train(
            config,
            options.run_dir,
            stages=stages,
            progress=bars,
            download_progress=bars.download,
            plan=bars.plan,
            source=options.source,
            command=this_command(),
        )
    if PartialState().is_main_process:
        _print_result(result, options.run_dir, recommends=config.hand_over_recommended)


def _print_result(result: dict[str, Any], run_dir: Path, *, recommends: bool) -> None:
    for finding in result["health"].values():
        print(health_line(finding))
    for stage in reversed(actors_of(_STAGES)):
        if result.get(stage) is not None:
            print(evaluation_line(stage, EvaluationResult.from_dict(result[stage])))
    print(f"data: return {result['data_return']:.1f}{score_suffix(result['data_score'])}")
    if result.get("verdict") is not None:
        print(verdict_line(result, recommends=recommends))
    print(f"{result['seconds']:.0f} seconds, everything in {run_dir}")
