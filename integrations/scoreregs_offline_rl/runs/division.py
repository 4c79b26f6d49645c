"""A sweep over several processes: each trains whole seeds, and talks to nobody until all are done.

Each part of the seeds has a directory of its own in `parts`, a sweep of its seeds. When the last
one has finished, the stages are put together as one process would have left them, and parts with
nothing else are gone. Those that are there are trained by however many processes go on with them.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from scoreregs_offline_rl.configuration import differences, to_dict
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json, save_tensors
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import GRID, RunDirectory
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.presence import await_parts, present
from scoreregs_offline_rl.runs.scaled import ScaledData
from scoreregs_offline_rl.training.acceleration import alone
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.stage_files import is_finished, load_report
from scoreregs_offline_rl.training.trainer import Progress, Trainer, no_progress

__all__ = ["check_members", "is_divided", "remove_parts", "seeds_of_parts", "train_divided"]

_PARTS, _WEIGHTS, _REPORT, _METRICS = "parts", "weights.safetensors", "report.json", "metrics.jsonl"


def is_divided(directory: RunDirectory) -> bool:
    """Returns whether several processes have begun a sweep, and not put it together."""
    return _begun(directory) > 0


def seeds_of_parts(directory: RunDirectory, grid: SweepGrid) -> dict[Path, int]:
    """Returns how many seeds each part of a sweep has, by its folder; empty: it is not divided."""
    count = _begun(directory)
    parts = _divided(directory, grid, count) if count else {}
    return {folder: len(own.seeds) for folder, own in parts.items()}


def remove_parts(directory: RunDirectory, accelerator: Accelerator) -> None:
    """Removes parts whose stages are all put together, also after a kill before it was done.

    Args:
        directory: of the sweep, claimed.
        accelerator: of all processes, each of which calls it.
    """
    parts = directory.path / _PARTS
    with together():
        if accelerator.is_main_process and parts.exists():
            folders = _folders(directory)
            begun = {n for part in folders for n in part.stages if part.stage(n).exists()}
            if all(is_finished(directory.stage(name)) for name in begun):
                shutil.rmtree(parts)


def check_members(directory: RunDirectory, grid: SweepGrid) -> None:
    """Raises `RunError` where a sweep's directory, or a part of it, holds stages of others."""
    count = _begun(directory)
    parts = _divided(directory, grid, count) if count else {}
    for folder, own in {directory.path: grid, **parts}.items():
        _check_members(RunDirectory(folder, directory.kind), own)


def train_divided(
    config: TrainConfig,
    data: Transitions,
    scaled: ScaledData,
    accelerator: Accelerator,
    directory: RunDirectory,
    grid: SweepGrid,
    names: Sequence[str],
    progress: Progress,
) -> None:
    """Trains stages of a sweep that are not finished, parts of the seeds in each process.

    Args:
        config: of the sweep.
        data: unscaled.
        scaled: on the accelerator's device.
        accelerator: of all processes.
        directory: of the sweep, claimed.
        grid: its members.
        names: the stages to train, with those that they build on.
        progress: told of the steps of the first process.

    Raises:
        RunError: there are more processes than seeds, one process has begun a stage, or a part of
            the sweep has failed.
    """
    count, place = accelerator.num_processes, accelerator.process_index
    finished = [name for name in names if is_finished(directory.stage(name))]
    if len(finished) == len(names):
        return
    parts = _parts(directory, grid, names, count)
    kind, first = directory.kind, accelerator.is_main_process
    own_parts = list(parts.items())[place::count]
    with ExitStack() as stack:
        for folder, _ in own_parts:
            stack.enter_context(present(folder))
        # A part that has not begun is not to be taken for one that has failed.
        accelerator.wait_for_everyone()
        stack.enter_context(alone())
        trainer_config = config.trainer if first else replace(config.trainer, log_with=())
        own_accelerator = Accelerator(
            cpu=config.trainer.cpu,
            mixed_precision=config.trainer.mixed_precision,
            step_scheduler_with_optimizer=False,
        )
        told = progress if first else no_progress
        trainer = Trainer(own_accelerator, trainer_config, seed=0, progress=told)
        for folder, own in own_parts:
            part = RunDirectory(folder, kind)
            part.claim(config, data, own_accelerator, {GRID: to_dict(own)})
            for name in finished:
                _hand_out(directory.stage(name), part.stage(name), grid.seeds, own.seeds)
            Pipeline(config, scaled, trainer, part, own).train(names)
    # Not a barrier: those have a limit of time, and parts may take unlike times.
    await_parts(
        list(parts), lambda f: all(is_finished(RunDirectory(f, kind).stage(n)) for n in names)
    )
    # All have seen that all are done before the parts are gone.
    accelerator.wait_for_everyone()
    with together():
        if first:
            for name in names:
                if name not in finished:
                    its = [RunDirectory(folder, kind).stage(name) for folder in parts]
                    _put_together(its, directory.stage(name))
    # Others stay, which another command has begun in them.
    remove_parts(directory, accelerator)


def _check_members(directory: RunDirectory, grid: SweepGrid) -> None:
    path, stages = directory.path / GRID, directory.stages
    changes = differences(load_json(path), to_dict(grid)) if path.exists() else []
    follows = {name for name, stage in stages.items() if stage.follows_beta}
    fixed = {"seeds": set(stages), "betas": follows}
    for change in changes:
        if directory.has_started(fixed[change.split(":")[0]]):
            raise RunError(
                f"got other members than those of the sweep in {directory.path} ({change}): "
                "choose another directory"
            )


def _begun(directory: RunDirectory) -> int:
    """Returns how many parts there are; 0 where the sweep is not divided."""
    found = _folders(directory)
    return int(found[0].path.name.split("-")[-1]) if found else 0


def _folders(directory: RunDirectory) -> list[RunDirectory]:
    """Returns the parts that have a folder."""
    found = (directory.path / _PARTS).glob("*-of-*")
    return [RunDirectory(folder, directory.kind) for folder in found]


def _divided(directory: RunDirectory, grid: SweepGrid, count: int) -> dict[Path, SweepGrid]:
    """Returns the members of each of so many parts by its folder."""
    if count > len(grid.seeds):
        raise RunError(
            f"got {len(grid.seeds)} seeds for a sweep in {count} parts, expected at least one for "
            "each: launch fewer processes, or give more seeds"
        )
    chunks = torch.tensor(grid.seeds).tensor_split(count)
    return {
        directory.path / _PARTS / f"{place}-of-{count}": replace(grid, seeds=tuple(seeds.tolist()))
        for place, seeds in enumerate(chunks, 1)
    }


def _parts(
    directory: RunDirectory, grid: SweepGrid, names: Sequence[str], count: int
) -> dict[Path, SweepGrid]:
    """Returns the members of each part by its folder: as it was begun, else one a process."""
    started = [n for n in names if (directory.stage(n) / "checkpoints").exists()]
    if started := [name for name in started if not is_finished(directory.stage(name))]:
        raise RunError(
            f"got {count} processes for a sweep whose {started[0]} stage one process has begun: go "
            "on with one until it is finished"
        )
    return _divided(directory, grid, _begun(directory) or count)


def _hand_out(source: Path, target: Path, seeds: Sequence[int], own: Sequence[int]) -> None:
    """Gives a part its members of a stage that is finished for all of them."""
    if is_finished(target):
        return
    tensors = load_tensors(source / _WEIGHTS)
    rows = len(next(iter(tensors.values()))) // len(seeds)
    first = seeds.index(own[0]) * rows
    mine = {name: value[first : first + rows * len(own)] for name, value in tensors.items()}
    save_tensors(target / _WEIGHTS, mine)
    save_json(target / _REPORT, load_json(source / _REPORT))


def _put_together(parts: Sequence[Path], target: Path) -> None:
    """Writes a finished stage of all members out of those of the parts."""
    tensors = [load_tensors(part / _WEIGHTS) for part in parts]
    lines = [
        [json.loads(line) for line in (part / _METRICS).read_text().splitlines()]
        for part in parts
        if (part / _METRICS).exists()
    ]
    target.mkdir(parents=True, exist_ok=True)
    (target / _METRICS).write_text(
        "".join(json.dumps(_merged(its)) + "\n" for its in zip(*lines, strict=True))
    )
    save_tensors(target / _WEIGHTS, {n: torch.cat([t[n] for t in tensors]) for n in tensors[0]})
    reports = [load_report(part) for part in parts]
    seconds = max(report.seconds for report in reports)
    metrics = _merged([report.metrics for report in reports])
    rate = reports[0].steps / seconds if seconds else 0.0
    lost = [label for report in reports for label in report.lost]
    unmoved = {label: rows for report in reports for label, rows in report.unmoved.items()}
    together = {"metrics": metrics, "lost": lost, "unmoved": unmoved}
    together["skipped"] = max(report.skipped for report in reports)
    report = replace(reports[0], seconds=seconds, steps_per_second=rate, **together)
    save_json(target / _REPORT, asdict(report))


def _merged(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the metrics of all members, metric by metric, and the longest time."""
    merged: dict[str, Any] = {}
    for metric in dict.fromkeys(name.split("/")[0] for record in records for name in record):
        for record in records:
            its = {n: value for n, value in record.items() if n.split("/")[0] == metric}
            merged |= its
    if "seconds" in merged:
        merged["seconds"] = max(record["seconds"] for record in records)
    return merged
