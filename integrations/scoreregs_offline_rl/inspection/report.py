"""An inspection as a page of text."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreregs_offline_rl.inspection.inspection import Distribution, Features, Inspection

__all__ = ["format_inspection"]

_SHADES = " .:-=+*#%@"
_SHOWN = 24


def format_inspection(inspection: Inspection) -> str:
    """Returns a page of text, without a newline at its end.

    Args:
        inspection: of a data set.
    """
    i = inspection
    cut = i.trajectories - i.terminal - i.incomplete
    lost = i.recorded - i.rows
    left_out = f" ({lost} more recorded, left out)" if lost else ""
    lines = [
        i.source,
        f"  environment    {i.environment or 'not named'}",
        f"  rows           {i.rows}{left_out}: {len(i.observations.mean)} observations, "
        f"{len(i.actions.mean)} actions",
        f"  trajectories   {i.trajectories}: {i.terminal} with a terminal, {cut} cut by a timeout, "
        f"{i.incomplete} by the end of the data",
        f"  terminal rows  {i.terminal_rows}",
    ]
    if i.scores is not None:
        mean, best = i.scores
        lines.append(f"  score          {mean:.1f} on average, {best:.1f} the best trajectory")
    lines += ["", _row("", ["min", "5 %", "25 %", "median", "75 %", "95 %", "max", "mean"])]
    for label, distribution in (
        ("return", i.returns),
        ("length", i.lengths),
        ("reward", i.rewards),
    ):
        lines.append(_row(label, _numbers(distribution)))
    lines += ["", *_actions(i), "", *_observations(i.observations)]
    if i.findings:
        lines += ["", "mind that", *(f"  - {finding}" for finding in i.findings)]
    return "\n".join(lines)


def _row(label: str, cells: list[str]) -> str:
    return f"  {label:<8}" + "".join(f"{cell:>11}" for cell in cells)


def _numbers(distribution: Distribution) -> list[str]:
    return [_number(value) for value in (*distribution.quantiles, distribution.mean)]


def _number(value: float) -> str:
    """Four digits, without an exponent up to a million."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"


def _actions(i: Inspection) -> list[str]:
    whose = "the environment's bounds" if i.bounds_known else "the data's own extremes"
    lines = [_row("action", ["min", "mean", "max", "std", "at bounds"]) + f"  between {whose}"]
    for k in _shown(len(i.actions.mean)):
        cells = [*_cells(i.actions, k), f"{100 * float(i.at_bounds[k]):.1f} %"]
        shades = _shades(i.action_counts[k])
        lines.append(
            _row(f"  {k}", cells) + f"  {float(i.action_low[k]):g} [{shades}] "
            f"{float(i.action_high[k]):g}"
        )
    return lines + _rest(len(i.actions.mean))


def _observations(features: Features) -> list[str]:
    lines = [_row("observ.", ["min", "mean", "max", "std"])]
    for k in _shown(len(features.mean)):
        constant = "  constant" if k in features.constant else ""
        lines.append(_row(f"  {k}", _cells(features, k)) + constant)
    return lines + _rest(len(features.mean))


def _cells(features: Features, k: int) -> list[str]:
    columns = features.minimum, features.mean, features.maximum, features.std
    return [_number(float(column[k])) for column in columns]


def _shown(count: int) -> range:
    return range(min(count, _SHOWN))


def _rest(count: int) -> list[str]:
    return [f"    and {count - _SHOWN} more"] if count > _SHOWN else []


def _shades(counts: Tensor) -> str:
    """A histogram in a line; a bin that is not empty is never blank."""
    level = torch.ceil(counts / counts.max().clamp_min(1) * (len(_SHADES) - 1)).long()
    return "".join(_SHADES[k] for k in level.tolist())
