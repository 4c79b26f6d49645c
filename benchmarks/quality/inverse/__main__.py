"""Digits restored by our solvers and by deepinv's, with the same network, measurements and noise.

    pip install -e ".[diffusers,offline-rl]" scikit-learn deepinv
    python -m benchmarks.quality.inverse --run-dir runs/inverse --output inverse.json

Best in an environment of its own: deepinv brings torchvision. Without it its rows are skipped.

Each method has one strength, chosen from five by its PSNR on validation images, averaged over the
problems, and used for all of them. Seconds are those of the processor, one thread, methods in turn.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import plain_errors
from benchmarks.quality.inverse.beside import deepinv_denoiser, deepinv_methods
from benchmarks.quality.inverse.methods import Method, our_methods
from benchmarks.quality.inverse.prior import FlowNetwork, flow_prior, trained
from benchmarks.quality.inverse.problems import (
    PROBLEMS,
    Problem,
    gaussian_mean,
    measure,
    psnr,
)
from examples.digits.data import load_digits, split
from scoreregs import ScorePrior
from scoreregs_offline_rl.files import save_json

__all__ = ["compare", "markdown", "methods_of"]

DEEPINV_REASON = "deepinv is not installed: `pip install deepinv`"


@dataclass(frozen=True)
class Arguments:
    """Digits restored by our solvers and by deepinv's."""

    run_dir: Path
    """Where the network is kept and found again."""
    output: Path
    """The JSON that is written."""
    evaluations: int = 100
    """Of the network, for an image."""
    runs: int = 4
    """Of each method, with noise of their own; the mean of their images is scored too."""
    images: int = 200
    """To validate on, and as many others to test on."""
    training_steps: int = 6_000
    """Of the network."""
    width: int = 384
    """Of the network."""
    seed: int = 0
    """Of everything."""


def methods_of(prior: ScorePrior, evaluations: int) -> tuple[dict[str, Method], dict[str, str]]:
    """Returns the methods by name, and why others are skipped."""
    ours = our_methods(prior, evaluations)
    if find_spec("deepinv") is None:
        return ours, {"deepinv": DEEPINV_REASON}
    theirs = deepinv_methods(prior, evaluations)
    return ours | {f"deepinv {name}": method for name, method in theirs.items()}, {}


def tuned(
    methods: Mapping[str, Method], images: Tensor, seed: int
) -> dict[str, dict[float, float]]:
    """Returns the PSNR of each strength of each method, averaged over problems."""
    problems = [measure(name, images, seed) for name in PROBLEMS]
    scores: dict[str, dict[float, float]] = {}
    for name, method in methods.items():
        scores[name] = {
            strength: sum(
                psnr(method.restore(problem, strength, seed), images).mean().item()
                for problem in problems
            )
            / len(problems)
            for strength in method.grid
        }
        print(f"{name}: {method.strength} {scores[name]}", flush=True)
    return scores


def restored(
    methods: Mapping[str, Method],
    strengths: Mapping[str, float],
    problem: Problem,
    network: FlowNetwork,
    runs: int,
) -> dict[str, dict[str, Any]]:
    """Returns the images of each run of each method, its processor seconds and evaluations.

    The methods take turns, so that what else the machine does falls on all of them.
    """
    count = len(problem.measured)
    found: dict[str, dict[str, Any]] = {
        name: {"images": [], "seconds": [], "evaluations": 0.0} for name in methods
    }
    for run in range(runs):
        for name, method in methods.items():
            network.rows, start = 0, time.process_time()
            images = method.restore(problem, strengths[name], 1000 + run)
            found[name]["seconds"].append((time.process_time() - start) / count)
            found[name]["images"].append(images)
            found[name]["evaluations"] = network.rows / count
    return found


def compare(arguments: Arguments) -> dict[str, Any]:
    """Returns what a result says: the strengths, and the scores by problem and method."""
    train, validation, test = split(load_digits(), arguments.images, arguments.seed)
    kept = arguments.run_dir / "prior.safetensors"
    trains = not kept.exists()
    network = trained(
        train.images,
        kept,
        width=arguments.width,
        steps=arguments.training_steps,
        seed=arguments.seed,
    )
    prior = flow_prior(network)
    methods, skipped = methods_of(prior, arguments.evaluations)
    scores = tuned(methods, _unit(validation.images), arguments.seed)
    strengths = {name: max(found, key=lambda s: found[s]) for name, found in scores.items()}
    truth = _unit(test.images)
    rows: dict[str, dict[str, Any]] = {}
    for name in PROBLEMS:
        problem = measure(name, truth, arguments.seed + 10)
        baselines = {
            "measurement": problem.projected(),
            "Gaussian posterior mean": gaussian_mean(problem, _unit(train.images)),
        }
        found = restored(methods, strengths, problem, network, arguments.runs)
        rows[name] = {method: _scored([x], truth) for method, x in baselines.items()}
        rows[name] |= {
            method: _scored(row["images"], truth) | {k: row[k] for k in ("evaluations",)}
            for method, row in found.items()
        }
        _add_seconds(rows[name], {method: row["seconds"] for method, row in found.items()})
        print(f"{name} done", flush=True)
    return {
        "trained_in_this_run": trains,
        "rows": rows,
        "validation": {
            name: {str(s): v for s, v in found.items()} for name, found in scores.items()
        },
        "strengths": {name: {methods[name].strength: s} for name, s in strengths.items()},
        "skipped": skipped,
        "denoisers_differ_by": None if skipped else _difference(prior, truth),
    }


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a Markdown table: a row for each method, two columns for each problem."""
    methods = next(iter(rows.values()))
    lines = [
        "| | " + " | ".join(rows) + " | Evaluations | Seconds over RED-diff's |",
        "|---" * (len(rows) + 3) + "|",
    ]
    for name, row in methods.items():
        cells = [
            f"{found[name]['psnr']:.2f}"
            + (f" ({found[name]['psnr_of_mean']:.2f})" if "evaluations" in row else "")
            for found in rows.values()
        ]
        if "evaluations" in row:
            ratio = sum(found[name]["seconds_ratio"] for found in rows.values()) / len(rows)
            cells += [f"{row['evaluations']:.0f}", f"{ratio:.2f}"]
        else:
            cells += ["–", "–"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _scored(runs: list[Tensor], truth: Tensor) -> dict[str, Any]:
    """Scores of the first run, with the standard error over images, and of the mean of all."""
    one = psnr(runs[0], truth)
    mean = psnr(torch.stack([x.clamp(0, 1) for x in runs]).mean(0), truth)
    error = len(truth) ** -0.5
    return {
        "psnr": one.mean().item(),
        "psnr_error": one.std().item() * error,
        "psnr_of_mean": mean.mean().item(),
        "psnr_of_mean_error": mean.std().item() * error,
    }


def _add_seconds(rows: dict[str, Any], seconds: Mapping[str, list[float]]) -> None:
    """Adds the median seconds for an image, and the median of their ratios to RED-diff's."""
    reference = torch.tensor(seconds["RED-diff"])
    for name, taken in seconds.items():
        each = torch.tensor(taken)
        rows[name]["seconds"] = each.median().item()
        rows[name]["seconds_ratio"] = (each / reference).median().item()


def _difference(prior: ScorePrior, images: Tensor) -> dict[str, float]:
    """The largest difference of denoised pixels in [0, 1], by noise level."""
    denoiser, found = deepinv_denoiser(prior), {}
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    for sigma in (0.05, 0.25, 1.0, 5.0):
        t = 2 * sigma / (1 + 2 * sigma)
        x = images + sigma * noise
        ours = (prior.denoise((1 - t) * (2 * x - 1), t) + 1) / 2
        with torch.no_grad():
            found[str(sigma)] = (denoiser(x, sigma) - ours).abs().max().item()
    return found


def _unit(images: Tensor) -> Tensor:
    return (images + 1) / 2


def main() -> None:
    """Measures, writes the result and prints the table."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    with plain_errors():
        found = compare(arguments)
    content = {
        "command": public_command("benchmarks.quality.inverse", sys.argv[1:]),
        "seed": arguments.seed,
        "runs": arguments.runs,
        "images": arguments.images,
        "threads": torch.get_num_threads(),
        **machine(),
    }
    peers = () if found["skipped"] else ("deepinv", "torchvision")
    content["versions"] |= {package: metadata.version(package) for package in peers}
    save_json(arguments.output, content | found)
    print(markdown(found["rows"]))


if __name__ == "__main__":
    main()
