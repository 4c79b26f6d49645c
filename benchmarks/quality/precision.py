"""Whether a bf16 run agrees with a float32 run within the spread of the seeds.

python -m benchmarks.quality.precision --run-dir runs/precision --output precision.json

The embedded pendulum, small networks, the same seeds in both: a sweep each.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from scoreregs_offline_rl import RunError
from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["compare", "markdown", "numbers_of"]

_SETTINGS = [
    "--data=pendulum-swingup",
    "--preset=paper",
    "--critic.steps=10000",
    "--critic.width=128",
    "--behavior.steps=4000",
    "--behavior.batch-size=256",
    "--behavior.width=128",
    "--policy.steps=5000",
    "--policy.width=128",
    "--evaluation.episodes=50",
]
PRECISIONS = {"float32": "no", "bf16": "bf16"}
# The last logged mean of each: losses of the trained models, and what the policy reaches.
_LOGGED = {"critic": ("q_loss", "value_loss"), "behavior": ("loss",), "policy": ("q",)}


@dataclass(frozen=True)
class Arguments:
    """A bf16 run beside a float32 run."""

    run_dir: Path
    """Where the two sweeps are kept and found again."""
    output: Path
    """The JSON that is written."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """Of both."""
    extra: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Further arguments of the sweeps, as --extra=--critic.steps=100."""


def run_sweep(arguments: Arguments, precision: str) -> Path:
    """Runs or finds the sweep in one precision, in a process of its own, and returns its folder."""
    folder = arguments.run_dir / precision
    command = [sys.executable, "-m", "scoreregs_offline_rl", "sweep", "--run-dir", str(folder)]
    command += [*_SETTINGS, "--seeds", *map(str, arguments.seeds), "--betas", "0.1"]
    command += ["--trainer.mixed-precision", PRECISIONS[precision], *arguments.extra]
    ended = subprocess.run(command, check=False).returncode
    if ended:
        raise RunError(f"got exit code {ended} from the sweep, expected 0: see above")
    return folder


def numbers_of(folder: Path) -> dict[str, list[float]]:
    """Returns the last logged means and the score of each seed, by name."""
    found: dict[str, list[float]] = {}
    for stage, names in _LOGGED.items():
        last = json.loads((folder / stage / "metrics.jsonl").read_text().splitlines()[-1])
        for name in names:
            found[f"{stage} {name}"] = [v for n, v in last.items() if n.startswith(f"{name}/")]
    members = load_json(folder / "result.json")["members"].values()
    found["score"] = [line["policy"]["normalized_score"] for line in members]
    return found


def compare(reference: dict[str, list[float]], other: dict[str, list[float]]) -> dict[str, Any]:
    """Returns for each number both means, the reference's range, and whether the other is in it.

    It agrees where the difference of the means is at most the reference's range over seeds.

    Example:
        >>> compare({"loss": [1.0, 1.2]}, {"loss": [1.1, 1.2]})["loss"]["agrees"]
        True
    """
    return {
        name: {
            "mean": float(np.mean(values)),
            "range": [min(values), max(values)],
            "other_mean": float(np.mean(other[name])),
            "agrees": bool(abs(np.mean(values) - np.mean(other[name])) <= np.ptp(values)),
        }
        for name, values in reference.items()
    }


def markdown(rows: dict[str, Any]) -> str:
    """Returns a Markdown table of `compare`."""
    lines = ["| | float32, mean (range over seeds) | bf16, mean | Within |", "|---|---|---|---|"]
    for name, row in rows.items():
        low, high = row["range"]
        verdict = "yes" if row["agrees"] else "no"
        shown = f"{row['mean']:.4g} ({low:.4g} to {high:.4g})"
        lines.append(f"| {name} | {shown} | {row['other_mean']:.4g} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    with plain_errors():
        each_once("--seeds", arguments.seeds)
        found = {name: numbers_of(run_sweep(arguments, name)) for name in PRECISIONS}
    rows = compare(found["float32"], found["bf16"])
    command = public_command("benchmarks.quality.precision", sys.argv[1:])
    content = {"command": command, "seeds": arguments.seeds, **machine()}
    save_json(arguments.output, content | {"numbers": found, "rows": rows})
    print(markdown(rows))


if __name__ == "__main__":
    main()
