"""What the rows of a recording stand for, and the step from there to rows that are steps.

| Layout | A row is | Its flags say |
|---|---|---|
| `steps` | a step: s, a, r and what came of it (D4RL) | how this step ended |
| `states` | a state; a trajectory of T steps has T + 1, and the last one's action and reward are fillers (OGBench) | that this state is the last |
| `next_step` | a call of a vector environment that resets in the call after an end (Gymnasium from 1.0 on); that call's action is not taken | how this step ended |
| `same_step` | a call of one that resets within the call that ends (Gym, Gymnasium's `SAME_STEP`); what is observed after an end is the next episode's | how this step ended |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from scoreregs_offline_rl.data.columns import check_actions, check_lengths, flag_column
from scoreregs_offline_rl.errors import DataError

__all__ = ["Layout", "rows_of_layout", "usual_layout"]

Layout = Literal["steps", "states", "next_step", "same_step"]
"""What a row stands for."""

Arrays = dict[str, np.ndarray]


def usual_layout(present: Mapping[str, np.ndarray]) -> Layout:
    """Returns the layout of a file that does not say: `states` where it is OGBench's.

    Args:
        present: the arrays that it has, by our names.
    """
    says_what_follows = "timeouts" in present or "next_observations" in present
    return "states" if "masks" in present and not says_what_follows else "steps"


def rows_of_layout(arrays: Mapping[str, np.ndarray], layout: Layout, source: str) -> Arrays:
    """Returns the arrays that `Transitions.from_arrays` takes.

    Where there are `masks`, the rows that bootstrap, `terminals` mark ends of trajectories only.
    Vector environments' arrays may be of shape (steps, environments, ...); the rows of each
    environment then follow one another.

    Args:
        arrays: by our names; `observations`, `actions`, `rewards` and `terminals` at least.
        layout: what a row of them stands for.
        source: what messages call the data.

    Raises:
        DataError: where the arrays cannot be of this layout.

    Example:
        >>> states = np.array([[0.0], [1.0], [2.0]])
        >>> recorded = {"observations": states, "actions": states, "rewards": states[:, 0]}
        >>> rows = rows_of_layout({**recorded, "terminals": np.array([0, 0, 1])}, "states", "log")
        >>> rows["next_observations"].tolist(), rows["timeouts"].tolist()
        ([[1.0], [2.0]], [False, True])
    """
    given = dict(arrays)
    check_actions(given["actions"], source)
    if layout == "steps":
        return _masked(given, source) if "masks" in given else given
    stretch = _lay_out(given, source) if layout != "states" else None
    for key in ("observations", "actions"):
        if given[key].ndim != 2:
            raise DataError(
                f"got shape {given[key].shape}, expected (rows, features)",
                source=source,
                key=key,
                remedy=f"see whether loading.layout {layout} is meant",
            )
    flags = [key for key in ("terminals", "timeouts", "masks") if key in given]
    given |= {key: flag_column(key, given[key], source) for key in flags}
    check_lengths(given, source)
    if layout == "states":
        return _of_states(given, source)
    rows = len(given["terminals"])
    last = np.zeros(rows, dtype=bool)
    last[(stretch or rows) - 1 :: stretch or rows] = True
    ends = given["terminals"] | given.get("timeouts", np.zeros(rows, dtype=bool))
    given["terminals"] = ~given.pop("masks") if "masks" in given else given["terminals"]
    steps = np.arange(rows)
    if layout == "next_step":
        steps = _acted_rows(ends, last, given["rewards"], source)
    # Where the call resets itself, what follows an end is the next episode's.
    known = ~ends if layout == "same_step" else np.ones(rows, dtype=bool)
    if "next_observations" not in given:
        given["next_observations"] = np.roll(given["observations"], -1, axis=0)
        known &= ~last
    following = np.where(known[:, None], given["next_observations"], given["observations"])
    given |= {
        "next_observations": following,
        "timeouts": ends | last,
        "next_known": known,
        "unfinished": last & ~ends,
    }
    return {key: array[steps] for key, array in given.items()}


def _masked(given: Arrays, source: str) -> Arrays:
    """With masks in the place of terminals, which become timeouts."""
    ends = flag_column("terminals", given["terminals"], source)
    if "timeouts" in given:
        ends = ends | flag_column("timeouts", given["timeouts"], source)
    terminals = ~flag_column("masks", given.pop("masks"), source)
    return given | {"terminals": terminals, "timeouts": ends}


def _lay_out(given: Arrays, source: str) -> int | None:
    """Puts the rows of each environment one after the other; returns how many each has."""
    observations = given["observations"]
    if observations.ndim != 3:
        return None
    leading = observations.shape[:2]
    for key, array in given.items():
        if array.shape[:2] != leading:
            raise DataError(
                f"got shape {array.shape}, expected {leading} first, steps and environments",
                source=source,
                key=key,
                remedy="store every array with the same steps and environments",
            )
        given[key] = array.swapaxes(0, 1).reshape(leading[0] * leading[1], *array.shape[2:])
    return leading[0]


def _of_states(given: Arrays, source: str) -> Arrays:
    if "next_observations" in given:
        raise DataError(
            "got next observations, expected none where a row is a state",
            source=source,
            key="next_observations",
            remedy="give loading.layout steps",
        )
    last = given["terminals"] | given.pop("timeouts", np.zeros(len(given["terminals"]), bool))
    masks = given.pop("masks", np.ones(len(last), dtype=bool))
    closed = bool(last[-1])
    last[-1] = True
    steps = np.flatnonzero(~last)
    _refuse_nothing(steps, source)
    following = given["observations"][steps + 1]
    ends = last[steps + 1]
    unfinished = np.zeros(len(steps), dtype=bool)
    unfinished[-1] = not closed
    return {key: array[steps] for key, array in given.items()} | {
        "next_observations": following,
        "terminals": ~masks[steps],
        "timeouts": ends,
        "unfinished": unfinished,
    }


def _acted_rows(ends: np.ndarray, last: np.ndarray, rewards: np.ndarray, source: str) -> np.ndarray:
    """Those of `next_step` that do not only reset."""
    filler = np.append(False, ends[:-1] & ~last[:-1])
    if (wrong := filler & ends).any():
        raise DataError(
            "got an end in the row after an end, expected a row that only resets",
            source=source,
            key="terminals",
            row=int(wrong.argmax()),
            remedy="give loading.layout same_step, or steps",
        )
    # A reset has no reward, whatever was then added to all of them.
    got = rewards[filler]
    if got.dtype.kind in "biuf" and (differs := (got != got[:1]) & np.isfinite(got)).any():
        row = int(np.flatnonzero(filler)[differs.reshape(len(got), -1).any(axis=1).argmax()])
        raise DataError(
            "got rewards that differ in the rows after an end, expected rows that only reset",
            source=source,
            key="rewards",
            row=row,
            remedy="give loading.layout same_step, or steps; where these rows do only reset, store "
            "rewards of 0 in them",
        )
    return np.flatnonzero(~filler)


def _refuse_nothing(steps: np.ndarray, source: str) -> None:
    if len(steps) == 0:
        raise DataError(
            "got no row with an action that was taken, expected at least one",
            source=source,
            key="terminals",
            remedy="check the flags and loading.layout",
        )
