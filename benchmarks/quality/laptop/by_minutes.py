"""Score against seconds: what the `laptop` preset makes of `--minutes` 1, 2, 4, ...

    python -m benchmarks.quality.laptop.by_minutes --data FILE [FILE ...] --run-dir DIR \
        --output laptop-minutes.json --picture score-by-seconds.png
    python -m benchmarks.quality.laptop.by_minutes --output laptop-minutes.json \
        --picture score-by-seconds.png --redraw

Each is a run of its own, from its first step: what the seconds are is a matter of the machine, and
of what else it does. Runs that are finished in the run directory are not trained again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.laptop.runs import HANDED_OVER, METHODS, WEIGHTED, config_of, preset_rows
from benchmarks.quality.paper import style
from benchmarks.quality.scores.rows import Row
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import AWRStage, PolicyStage, load_data
from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["Arguments", "draw", "main", "table"]

_CURVES = (WEIGHTED, AWRStage.label, PolicyStage.label, HANDED_OVER)


@dataclass(frozen=True)
class Arguments:
    """Scores of the laptop preset by the minutes that it is given."""

    output: Path
    """The JSON that is written."""
    picture: Path
    """The PNG that is drawn."""
    data: tuple[Path, ...] = ()
    """Files in D4RL's layout."""
    run_dir: Path | None = None
    """Where runs are kept and found again."""
    minutes: tuple[float, ...] = (1.0, 2.0, 4.0)
    """What a run may take."""
    seeds: tuple[int, ...] = (0, 1)
    """Of weights, batches and noise."""
    episodes: int = 20
    """Of an evaluation, of the last checkpoint."""
    redraw: bool = False
    """Draw the output again, without computing anything."""


def table(rows: list[Row]) -> str:
    """Returns a Markdown table: mean scores over seeds by file and minutes, with the seconds.

    Example:
        >>> at = {"file": "f", "minutes": 1.0, "seconds": 50.0}
        >>> print(table([at | {"method": "SRPO", "score": 2.0}]).splitlines()[-1])
        | f | 1 | – | – | – | 2.0 (50 s) | – |
    """
    methods = (METHODS[0], *_CURVES)
    heads = ["File", "Minutes", *(method[0].upper() + method[1:] for method in methods)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for file, minutes in sorted({(row["file"], row["minutes"]) for row in rows}):
        own = [row for row in rows if (row["file"], row["minutes"]) == (file, minutes)]
        cells = [_cell([row for row in own if row["method"] == method]) for method in methods]
        lines.append(f"| {file} | {minutes:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: list[Row]) -> str:
    if not rows:
        return "–"
    score = f"{np.mean([row['score'] for row in rows]):.1f}"
    seconds = [row["seconds"] for row in rows if "seconds" in row]
    return f"{score} ({np.mean(seconds):.0f} s)" if seconds else score


def draw(rows: list[Row]) -> Figure:
    """Returns a panel of each file: scores by the seconds of training, a mark for each seed."""
    files = sorted({row["file"] for row in rows})
    with style.styled():
        figure = style.figure(4.2 * len(files), 4.0)
        for axis, file in zip(figure.subplots(1, len(files), squeeze=False)[0], files, strict=True):
            _draw_file(axis, [row for row in rows if row["file"] == file])
            axis.set(title=file, xlabel="seconds of training, all stages", ylim=(0, None))
        figure.axes[0].set_ylabel("normalised score")
        figure.axes[-1].legend(loc="lower right")
    return figure


def _draw_file(axis: Axes, rows: list[Row]) -> None:
    data = next(row["score"] for row in rows if row["method"] == METHODS[0])
    axis.axhline(data, color="0.35", linestyle=(0, (1, 1)), label="the data")
    for index, method in enumerate(_CURVES[:-1]):
        own = [row for row in rows if row["method"] == method]
        color, marker = style.COLORS[index], style.MARKERS[index]
        seconds, scores = ([row[name] for row in own] for name in ("seconds", "score"))
        axis.plot(seconds, scores, color=color, marker=marker, linestyle="", alpha=0.5)
        budgets = [
            [row for row in own if row["minutes"] == each]
            for each in sorted({row["minutes"] for row in own})
        ]
        seconds, scores = (
            [float(np.mean([row[name] for row in budget])) for budget in budgets]
            for name in ("seconds", "score")
        )
        line = style.LINES[index]
        axis.plot(seconds, scores, color=color, marker=marker, linestyle=line, label=method)


def _rows(arguments: Arguments, run_dir: Path) -> list[Row]:
    found: list[Row] = []
    for data in arguments.data:
        for seed in arguments.seeds:
            for minutes in arguments.minutes:
                config = config_of(data, seed, episodes=arguments.episodes, minutes=minutes)
                folder = run_dir / data.stem / str(seed) / f"{minutes:g}"
                found += [row | {"minutes": minutes} for row in preset_rows(config, data, folder)]
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, writes the results, prints the table and draws the picture."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        if arguments.redraw:
            rows = load_json(arguments.output)["rows"]
        else:
            if arguments.run_dir is None:
                raise ArgumentError("got no --run-dir, expected where runs are kept")
            each_once("--seeds", arguments.seeds)
            each_once("--minutes", arguments.minutes)
            each_once("--data (without folder and ending)", [path.stem for path in arguments.data])
            for path in arguments.data:
                load_data(path)
            rows = _rows(arguments, arguments.run_dir)
            content = {
                "command": public_command("benchmarks.quality.laptop.by_minutes", words),
                "threads": torch.get_num_threads(),
                **machine(),
                "rows": rows,
            }
            save_json(arguments.output, content)
    style.save(draw(rows), arguments.picture)
    print(table(rows))


if __name__ == "__main__":
    main()
