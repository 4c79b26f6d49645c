"""An inspection as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.figures import drawing
from scoreregs_offline_rl.inspection.inspection import Inspection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["draw_inspection"]

_ROWS = 20_000
# Two of Okabe and Ito's colours, which everyone tells apart.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def draw_inspection(data: Transitions, inspection: Inspection, path: Path) -> None:
    """Draws returns, lengths, rewards, actions and observations into a PNG.

    Args:
        data: the transitions.
        inspection: of the same.
        path: the file; its directory is created.

    Raises:
        MissingDependencyError: unless matplotlib is installed.
    """
    with drawing(path, 14, 8) as figure:
        axes = figure.subplots(2, 3)
        score = f", mean score {inspection.scores[0]:.1f}" if inspection.scores else ""
        figure.suptitle(
            f"{Path(inspection.source).name}: {inspection.rows} rows, "
            f"{inspection.trajectories} trajectories{score}"
        )
        _draw_returns(axes[0, 0], data)
        _draw_by_ending(axes[0, 1], data, data.trajectory_returns.numpy(), "return")
        _draw_by_ending(axes[0, 2], data, data.trajectory_lengths.numpy(), "length / steps")
        _draw_rewards(axes[1, 0], data)
        shares = _draw_actions(axes[1, 1], inspection)
        figure.colorbar(shares, ax=axes[1, 1], label="share of rows")
        _draw_observations(axes[1, 2], data)


def _endings(data: Transitions) -> list[tuple[str, str, str, np.ndarray]]:
    """Label, colour, marker and mask of the trajectories that ended in one way."""
    terminal = data.trajectory_terminal.numpy()
    kinds = [("terminal", _BLUE, ".", terminal), ("cut", _ORANGE, "x", ~terminal)]
    return [kind for kind in kinds if kind[3].any()]


def _add_legend(axis: Axes) -> None:
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)


def _draw_returns(axis: Axes, data: Transitions) -> None:
    order = np.arange(len(data.trajectory_returns))
    for label, colour, marker, mask in _endings(data):
        returns = data.trajectory_returns.numpy()[mask]
        axis.scatter(order[mask], returns, s=14, c=colour, marker=marker, label=label)
    axis.set(xlabel="trajectory, in the order of the data", ylabel="return")
    _add_legend(axis)


def _draw_by_ending(axis: Axes, data: Transitions, values: np.ndarray, label: str) -> None:
    endings = _endings(data)
    axis.hist(
        [values[mask] for *_, mask in endings],
        bins=40,
        range=(min(0, values.min()), max(1, values.max())),
        stacked=True,
        color=[colour for _, colour, *_ in endings],
        label=[name for name, *_ in endings],
    )
    axis.set(xlabel=label, ylabel="trajectories")
    _add_legend(axis)


def _draw_rewards(axis: Axes, data: Transitions) -> None:
    axis.hist(data.rewards.numpy(), bins=60, color="0.4")
    axis.set(xlabel="reward of a row", ylabel="rows", yscale="log")


def _draw_actions(axis: Axes, inspection: Inspection) -> AxesImage:
    from matplotlib.colors import PowerNorm

    shares = inspection.action_counts.double() / inspection.rows
    image = axis.imshow(
        shares.numpy(),
        # Bounds hold so many rows that a linear scale hides what lies between them.
        norm=PowerNorm(0.5, vmin=0),
        cmap="cividis",
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-1, 1, -0.5, len(shares) - 0.5),
    )
    whose = "bound" if inspection.bounds_known else "extreme of the data"
    axis.set(xlabel=f"action, from the lower to the upper {whose}", ylabel="index of the action")
    axis.set_xticks([-1, -0.5, 0, 0.5, 1])
    axis.locator_params(axis="y", integer=True)
    return image


def _draw_observations(axis: Axes, data: Transitions) -> None:
    """Ranges in evenly spread rows; the scale is linear within one and logarithmic beyond."""
    rows = data.observations[:: -(-len(data) // _ROWS)].double()
    low, high = torch.quantile(rows, torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0).numpy()
    place = np.arange(rows.shape[1])
    axis.vlines(
        place,
        rows.amin(0).numpy(),
        rows.amax(0).numpy(),
        colors="0.6",
        linewidth=1,
        label="range",
    )
    axis.bar(place, high - low, bottom=low, color=_BLUE, width=0.6, label="5 % to 95 %")
    axis.scatter(place, rows.mean(0).numpy(), s=14, c="black", marker="_", label="mean", zorder=3)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set(xlabel="index of the observation", ylabel="value")
    axis.locator_params(axis="x", integer=True)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
