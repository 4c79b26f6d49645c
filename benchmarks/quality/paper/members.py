"""Table and picture of the variants that `offline_rl` trains, by series and place."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.scores.table import mean_and_range

__all__ = ["MOST_OUTSIDE", "draw_members", "members_table"]

# The limit of `check_policy`, in percent.
MOST_OUTSIDE = 50

Labels = Mapping[str, str]


def members_table(outcome: Outcome, series: Labels, places: Labels) -> str:
    """Returns mean, range over seeds and mean share outside, and what the checks found.

    What was not run is a dash.
    """
    lines = [
        f"| File | Data | Cloning | | {' | '.join(places.values())} |",
        "|---" * (len(places) + 4) + "|",
    ]
    for file in outcome.numbers["files"]:
        of_data = "–" if file["data"] is None else f"{file['data']:.1f}"
        start = f"| {file['file']} | {of_data} | {mean_and_range(file['cloning'])} |"
        for name, label in series.items():
            cells = [_cell(*_members(outcome, file["file"], name, place)) for place in places]
            lines.append(f"{start} {label} | {' | '.join(cells)} |")
            start = "| | | |"
    for file in outcome.numbers["files"]:
        passed, seeds = file["passed"], file["seeds"]
        critics, behaviors = (f"{passed[stage]} of {seeds}" for stage in ("critic", "behavior"))
        found = f"{critics} critics and {behaviors} behavior models pass their checks."
        lines += ["", f"{file['file']}: {found}"]
    return "\n".join(lines)


def _cell(values: Sequence[float], outside: Sequence[float]) -> str:
    return f"{mean_and_range(values)}, {np.mean(outside):.0%}" if values else "–"


def _members(
    outcome: Outcome, file: str, series: str, place: str
) -> tuple[list[float], list[float]]:
    """Returns values and shares outside the support, one of each seed."""
    rows = outcome.tables["members"]
    keys = zip(rows["file"], rows["series"], rows["place"], strict=True)
    chosen = [i for i, key in enumerate(keys) if key == (file, series, place)]
    values, outside = ([float(rows[name][i]) for i in chosen] for name in ("value", "outside"))
    return values, outside


def draw_members(outcome: Outcome, series: Labels, places: Labels, xlabel: str) -> Figure:
    """Returns a column for each file: above what policies reach, below how many actions leave."""
    files = outcome.numbers["files"]
    figure = style.figure(min(13.0, 6.5 * len(files)), 6.4)
    axes = figure.subplots(2, len(files), squeeze=False, sharex=True)
    # Side by side, so that no range hides another: a fiftieth of the width from series to series.
    step = 0.02 * (len(places) - 1)
    for file, (above, below) in zip(files, axes.T, strict=True):
        for index, (name, label) in enumerate(series.items()):
            members = [_members(outcome, file["file"], name, place) for place in places]
            shift = step * (index - (len(series) - 1) / 2)
            _draw_range(above, [values for values, _ in members], index, shift, label)
            shares = [[100 * share for share in outside] for _, outside in members]
            _draw_range(below, shares, index, shift, label)
        if file["data"] is not None:
            above.axhline(file["data"], color="0.35", linestyle=(0, (1, 1)), label="the data")
        if file["cloning"]:
            clones = float(np.mean(file["cloning"]))
            above.axhline(clones, color="0.55", linestyle=(0, (5, 2)), label="cloning")
        # Set last: a line between the points and the margin does not ask for one of its own.
        above.margins(y=0.08)
        above.set(title=file["file"], ylabel=file["unit"])
        below.axhline(
            MOST_OUTSIDE, color=style.VALUE, linestyle="-.", label="most that the check allows"
        )
        below.set(xlabel=xlabel, ylabel="actions outside the support (%)", ylim=(-4, 104))
        below.set_xticks(range(len(places)), list(places.values()))
    legend = {
        label: handle
        for axis in axes[:, 0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=4)
    return figure


def _draw_range(
    axis: Axes, found: Sequence[Sequence[float]], index: int, shift: float, label: str
) -> None:
    """Draws mean and range over seeds at each place; a place without numbers is left out."""
    points = [(at + shift, values) for at, values in enumerate(found) if values]
    middles = np.array([np.mean(values) for _, values in points])
    ends = np.array([(min(values), max(values)) for _, values in points]).T
    axis.errorbar(
        [x for x, _ in points],
        middles,
        yerr=np.abs(ends - middles),
        color=style.COLORS[index],
        marker=style.MARKERS[index],
        linestyle=style.LINES[index],
        capsize=3,
        label=label,
    )
