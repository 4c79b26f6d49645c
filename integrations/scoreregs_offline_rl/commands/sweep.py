"""The command that trains seeds by temperatures as one job."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from accelerate import PartialState

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.commands.console import Bars
from scoreregs_offline_rl.commands.train import (
    TrainingOptions,
    base_config,
    show_config,
    this_command,
)
from scoreregs_offline_rl.configuration import to_dict
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.sweep import rehearse_sweep, sweep
from scoreregs_offline_rl.runs.sweep_plot import draw_sweep
from scoreregs_offline_rl.runs.sweep_table import SweepTable

__all__ = ["sweep_command"]

_GRID = SweepGrid()
_STAGES = "Those to train; None: the policy of Eq. 15 and what it builds on."


def sweep_command(arguments: Sequence[str]) -> Callable[..., None]:
    """Returns the command, with defaults that fit the data or run directory that are given."""
    base = base_config(arguments)

    def command(
        options: Annotated[TrainingOptions, tyro.conf.arg(name="")],
        grid: Annotated[SweepGrid, tyro.conf.arg(name="")] = _GRID,
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = base,
        stages: Annotated[tuple[str, ...] | None, tyro.conf.arg(help=_STAGES)] = None,
    ) -> None:
        """Train policies of several seeds at several temperatures as one job, and compare them.

        Critics and behavior models are trained once for each seed. --seed and --beta play no part.
        Interrupt it whenever you like: the same command goes on.
        """
        _sweep(config, grid, options, stages)

    return command


def _sweep(
    config: TrainConfig,
    grid: SweepGrid,
    options: TrainingOptions,
    stages: tuple[str, ...] | None,
) -> None:
    if options.source is not None:
        raise ArgumentError(
            f"got --from {options.source} for a sweep, expected none: give the finished weights "
            "with --critic.weights and --behavior.weights"
        )
    with Bars() as bars:
        if options.show_config:
            shared = [n for n, stage in config.stages().items() if not stage.follows_beta]
            show_config(config, shared, bars, to_dict(grid))
            return
        if options.dry_run:
            more = {"grid": grid, "stages": stages, "download_progress": bars.download}
            bars.plan(rehearse_sweep(config, options.run_dir, **more))
            return
        table = sweep(
            config,
            options.run_dir,
            grid=grid,
            stages=stages,
            progress=bars,
            download_progress=bars.download,
            plan=bars.plan,
            command=this_command(),
        )
    if PartialState().is_main_process:
        _report(table, options.run_dir)


def _report(table: SweepTable, run_dir: Path) -> None:
    picture = run_dir / "sweep.png"
    draw_sweep(table, picture)
    print(table.table())
    best = "" if table.best is None else f"the temperature to take: {table.best!r}\n"
    print(f"\n{best}picture: {picture}")
    print(f"each member in {run_dir / 'members'}, where evaluate, report and export find it")
