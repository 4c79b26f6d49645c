"""Fit a diffusers model to digits, then distil from it and solve inverse problems with it.

    python -m examples.digits --run-dir runs/digits

A run directory that holds a pipeline already is used as it is: training takes most of the time.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from examples.digits.data import CLASSES, NULL, Digits, load_digits, split
from examples.digits.distillation import Method, distil, recognised
from examples.digits.inverse import (
    Problem,
    Settings,
    inpainting,
    psnr,
    restore,
    super_resolution,
)
from examples.digits.network import train_pipeline
from examples.digits.picture import draw
from scoreregs import ScorePrior, check_prior
from scoreregs_diffusers import DiffusersPrior

# Chosen on validation images, at one training of the network.
SETTINGS = {"50 % inpainting": Settings(beta=128.0), "2x super-resolution": Settings(beta=64.0)}
METHODS: tuple[Method, ...] = ("SDS", "CSD")
_PACKAGES = ("scoreregs", "torch", "diffusers", "scikit-learn")


def distil_classes(
    prior: ScorePrior, train: Digits, *, copies: int = 5, steps: int = 150, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Returns images of each class by method, and the share of them that shows its class."""
    labels = torch.arange(CLASSES).repeat(copies)
    images = {method: distil(method, prior, labels, steps=steps, seed=seed) for method in METHODS}
    return images, {m: recognised(found, labels, train) for m, found in images.items()}


def solve(
    problem: Problem, prior: ScorePrior, train: Digits, settings: Settings, seed: int
) -> dict[str, Tensor]:
    """Returns the images that each method restores."""
    count = len(problem.measured)
    return {
        "mean-fill": problem.fill(train.images.mean(0).expand(count, *problem.shape)),
        "Gaussian": problem.gaussian_mean(train.images).clamp(-1, 1),
        "RED-diff": restore(problem, prior, torch.full((count,), NULL), settings, seed),
    }


def restore_all(
    prior: ScorePrior, train: Digits, truth: Tensor, settings: Mapping[str, Settings], seed: int = 0
) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, float]]]:
    """Returns the rows of images of each problem, and the PSNR of each method."""
    inpainted, averaged = inpainting(truth, seed), super_resolution(truth)
    images, scores = {}, {}
    for (name, chosen), problem in zip(settings.items(), (inpainted, averaged), strict=True):
        found = solve(problem, prior, train, chosen, seed)
        images[name] = {"truth": truth, "measured": problem.shown(), **found}
        scores[name] = {method: psnr(restored, truth) for method, restored in found.items()}
    small = averaged.measured.reshape(-1, 1, 4, 4)
    bilinear = F.interpolate(small, scale_factor=2, mode="bilinear")
    scores[list(settings)[1]]["bilinear"] = psnr(bilinear, truth)
    return images, scores


def run(run_dir: Path, seed: int) -> tuple[Figure, dict[str, Any]]:
    """Trains where there is no pipeline yet, and returns the picture and the numbers."""
    train, validation, test = split(load_digits(), held_out=100, seed=seed)
    pipeline = run_dir / "pipeline"
    trains = not pipeline.exists()
    if trains:
        start = time.process_time()
        train_pipeline(train, pipeline, seed=seed)
        print(f"trained in {time.process_time() - start:.0f} s of processor time")
    prior = DiffusersPrior.from_pretrained(pipeline)
    print(
        "the prior on validation images:", check_prior(prior, validation.images, validation.labels)
    )
    distilled, shares = distil_classes(prior, train, seed=seed)
    restored, scores = restore_all(prior, train, test.images, SETTINGS, seed)
    numbers = {
        "trained_in_this_run": trains,
        "recognised": shares,
        "psnr": scores,
        "test_images": len(test.images),
        "settings": {name: asdict(settings) for name, settings in SETTINGS.items()},
        "seed": seed,
    }
    return draw(distilled, restored, scores), numbers


def main() -> int:
    """Runs everything, prints the numbers, and says where everything is."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.digits",
        description="Fit a diffusers model to digits, distil from it, restore images with it.",
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/digits"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.process_time()
    figure, numbers = run(arguments.run_dir, arguments.seed)
    for method, share in numbers["recognised"].items():
        print(f"{method}: {share:.0%} of the images are recognised as their class")
    for problem, scores in numbers["psnr"].items():
        found = ", ".join(f"{method} {score:.2f} dB" for method, score in scores.items())
        print(f"{problem}: {found}")
    numbers |= {
        "processor_seconds": time.process_time() - start,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {package: metadata.version(package) for package in _PACKAGES},
        "command": " ".join(["python -m examples.digits", *sys.argv[1:]]),
    }
    picture, result = arguments.run_dir / "digits.png", arguments.run_dir / "result.json"
    figure.savefig(picture, dpi=120)
    result.write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"picture: {picture}\nnumbers: {result}\npipeline: {arguments.run_dir / 'pipeline'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
