"""pytest-benchmark's JSON as ratios: a table to read and a chart to look at.

python -m benchmarks.speed.report speed.json --chart-file speed.png
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure

from benchmarks.speed.ratios import REFERENCE, Line, lines_of

__all__ = ["chart", "markdown", "summary"]

_COLOR, _OTHER = "#0072B2", "#999999"
_SHOWN = {
    "paper code": "the paper's code",
    "paper code one by one": "the paper's code, one by one",
    "ours one by one": "ours, one by one",
    "corl iql": "CORL's IQL",
    "cleandiffuser": "CleanDiffuser",
    "policy in onnx": "policy in ONNX Runtime",
}


def markdown(lines: list[Line]) -> str:
    """Returns a Markdown table.

    Example:
        >>> print(markdown([Line("critic", "ours", 2.0, 0.1, 1.0, 3_000_000)]).splitlines()[-1])
        | critic | ours | 2.000 | 0.100 | 1.00 | 3 |  |
    """
    heads = ["", "Row", "Median, ms", "Interquartile range, ms", "Over ours", "MFLOP", "Bytes, ms"]
    table = [heads, ["---"] * len(heads)]
    for x in lines:
        numbers = [f"{x.median:.3f}", f"{x.quartiles:.3f}", f"{x.ratio:.2f}"]
        numbers.append("" if x.flops is None else f"{x.flops / 1e6:.3g}")
        numbers.append("" if x.memory is None else f"{x.memory:.3g}")
        table.append([x.group, x.name, *numbers])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def chart(lines: list[Line]) -> Figure:
    """Returns bars of the ratios, a panel for each group."""
    groups = list(dict.fromkeys(line.group for line in lines))
    counts = [sum(line.group == group for line in lines) for group in groups]
    figure = Figure(figsize=(8, 0.35 * sum(counts) + 0.8 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axis, group in zip(panels, groups, strict=True):
        rows = [line for line in lines if line.group == group][::-1]
        colors = [_COLOR if row.name in REFERENCE else _OTHER for row in rows]
        names = [_SHOWN.get(row.name, row.name) for row in rows]
        bars = axis.barh(names, [row.ratio for row in rows], color=colors)
        labels = axis.bar_label(bars, [_short(row.ratio) for row in rows], padding=3, fontsize=8)
        for label in labels:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        axis.axvline(1, color="black", linewidth=0.8, zorder=0)
        axis.set_title(group, fontsize=10, loc="left")
        axis.margins(x=0.16, y=0.4 / len(rows))
        if max(row.ratio for row in rows) > 20:
            axis.set_xscale("log")
    panels[-1].set_xlabel("median time over ours (right of the line: slower than ours)")
    return figure


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def summary(content: dict[str, Any], command: str) -> dict[str, Any]:
    """Returns the rows with their machine and command, without the single rounds."""
    machine = content["machine_info"]
    kept = ("machine", "system", "python", "torch", "threads", "cpu_capability", "gpu")
    processor = {name: machine.get("cpu", {}).get(name) for name in ("brand_raw", "count")}
    return {
        "command": command,
        "datetime": content["datetime"],
        "machine": {name: machine.get(name) for name in kept} | {"cpu": processor},
        "rows": [asdict(line) for line in lines_of(content["benchmarks"])],
    }


def main(
    result: tyro.conf.Positional[Path],
    chart_file: Path | None = None,
    summary_file: Path | None = None,
    command: str = "not recorded",
) -> None:
    """Prints a result of pytest-benchmark as ratios.

    Args:
        result: What --benchmark-json wrote.
        chart_file: Where to draw them, if anywhere.
        summary_file: Where to keep them without the single rounds, as JSON, if anywhere.
        command: What made the result, for the summary.
    """
    content = json.loads(result.read_text())
    lines = lines_of(content["benchmarks"])
    print(markdown(lines))
    if summary_file is not None:
        summary_file.write_text(json.dumps(summary(content, command), indent=2) + "\n")
    if chart_file is not None:
        chart(lines).savefig(chart_file, dpi=120)


if __name__ == "__main__":
    tyro.cli(main)
