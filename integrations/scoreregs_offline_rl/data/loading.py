"""How a recording is read, and the step from named arrays to transitions that all files share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import Count, check_settings
from scoreregs_offline_rl.data.columns import flag_column
from scoreregs_offline_rl.data.layouts import Layout, rows_of_layout, usual_layout
from scoreregs_offline_rl.data.rows import count_timeouts
from scoreregs_offline_rl.data.success import success_rewards
from scoreregs_offline_rl.data.transitions import RowSemantics, Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import D4RLTask, RecordedEnvironment, step_limit

__all__ = ["DataKeys", "LoadingConfig", "build_transitions", "choose_keys", "environment_of"]

logger = logging.getLogger(__name__)

_REQUIRED = ("observations", "actions", "rewards", "terminals")


@named_calls
@dataclass(frozen=True)
class DataKeys:
    """What a file calls its arrays; the defaults are D4RL's names, for LeRobot LeRobot's."""

    observations: str = "observations"
    """s, shape (rows, features)."""
    actions: str = "actions"
    """a, shape (rows, features), in the environment's units."""
    rewards: str = "rewards"
    """r, shape (rows,)."""
    terminals: str = "terminals"
    """Shape (rows,), bool; the episode ended for good, so nothing is bootstrapped."""
    timeouts: str = "timeouts"
    """Shape (rows,), bool; the episode was cut. May be absent, see max_episode_steps."""
    next_observations: str = "next_observations"
    """s', shape (rows, features). May be absent; it is then the next row's observation."""
    masks: str = "masks"
    """Shape (rows,), bool, True where targets bootstrap. May be absent; where it is, terminals only
    mark the ends of trajectories."""
    success: str = "success"
    """Shape (rows,), bool. Read for `rewards success` only."""

    def __post_init__(self) -> None:
        check_settings(self)


@named_calls
@dataclass(frozen=True)
class LoadingConfig:
    """How a data set is read."""

    keys: DataKeys = field(default_factory=DataKeys)
    """What an HDF5 or NPZ file calls its arrays, and LeRobot data its columns."""
    layout: Layout | None = None
    """What a row is. steps: a step, as in D4RL. states: a state, the last one of a trajectory with
    an action that was never taken, as in OGBench. next_step and same_step: a call of a vector
    environment that resets itself, in the call after an end (Gymnasium from 1.0 on) or within that
    of the end; arrays may then be of shape (steps, environments, ...). None: states for a file with
    masks and without timeouts, else steps."""
    rewards: Literal["recorded", "success"] = "recorded"
    """The file's own, or 1 at the end of each episode that its record of success says was
    successful."""
    rows: RowSemantics = "all"
    """Keep all rows that have a next observation, or those of D4RL's `qlearning_dataset`."""
    max_episode_steps: Count | None = None
    """Steps after which an episode is cut, for a file without timeouts. None: that of the file's
    D4RL task or environment."""
    terminals_end: bool | None = None
    """Whether a terminal row ends its trajectory. None: yes, but not in a D4RL AntMaze task, where
    the ant goes on at the goal, nor where masks say what is terminal."""
    mirrors: tuple[str, ...] = ()
    """Where else to download a D4RL or OGBench file from: folders by URL, or URLs with {file} or
    {name} in them. Those of the environment variable SCOREREGS_D4RL_MIRRORS, parted by spaces,
    follow for D4RL."""

    def __post_init__(self) -> None:
        check_settings(self)


def choose_keys(config: LoadingConfig, present: Iterable[str], source: str) -> dict[str, str]:
    """Returns the keys to read out of those that there are, by our names.

    Args:
        config: how to read the file.
        present: the keys of its arrays.
        source: what messages call the data.

    Raises:
        DataError: where one is missing that is needed, or that the user has named.
    """
    present, usual = sorted(present), asdict(DataKeys())
    wanted, by_success = asdict(config.keys), config.rewards == "success"
    required = {*_REQUIRED, "success"} - {"rewards" if by_success else "success"}
    del wanted["rewards" if by_success else "success"]
    for name, key in wanted.items():
        if key not in present and (name in required or key != usual[name]):
            shown = ", ".join(present[:20]) + (", ..." if len(present) > 20 else "")
            other = ", or give --loading.rewards success" if name == "rewards" else ""
            raise DataError(
                f"got no such array among {shown or 'none'}, expected the {name}",
                source=source,
                key=key,
                remedy=f"say what it is called (loading.keys.{name}), or add it{other}",
            )
    return {name: key for name, key in wanted.items() if key in present}


def environment_of(value: object, source: str) -> str | None:
    """Returns the environment that a file names; None where it names none.

    Args:
        value: of the attribute or array `environment`, None where it is absent.
        source: what messages call the data.

    Raises:
        DataError: unless it is one text, as str or UTF-8, that `RecordedEnvironment` reads.
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "US":
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str) or not value.isprintable():
        raise DataError(
            f"got {value!r:.80} of type {type(value).__name__}, expected one line of text",
            source=source,
            key="environment",
            remedy="store the Gymnasium id of the environment, or call the array something else",
        )
    try:
        name = RecordedEnvironment.parse(value).id
    except ArgumentError as error:
        raise DataError(str(error), source=source, key="environment") from error
    if ":" in name:
        raise DataError(
            f"got the environment {name!r}, which names a module, expected an id alone: what a "
            "file names is not run",
            source=source,
            key="environment",
            remedy="store the id behind the colon, and give the module with "
            "--evaluation.environment",
        )
    return value


def build_transitions(
    arrays: Mapping[str, np.ndarray],
    config: LoadingConfig,
    *,
    source: str,
    environment: str | None = None,
    task: D4RLTask | None = None,
) -> Transitions:
    """Returns transitions from the arrays of a file.

    Args:
        arrays: those of `choose_keys`, by our names.
        config: how to read them.
        source: what messages call the data.
        environment: of the data, if the file says so.
        task: the D4RL task of the file, if it is one.

    Raises:
        ArgumentError: for `rows="qlearning"` where a row is no step.
        DataError: see `Transitions.from_arrays`; the message names the file's own key.
    """
    try:
        return _build(dict(arrays), config, source, environment, task)
    except DataError as error:
        key = asdict(config.keys).get(error.key or "", error.key)
        raise (error if key == error.key else error.with_key(key)) from None


def _build(
    arrays: dict[str, np.ndarray],
    config: LoadingConfig,
    source: str,
    environment: str | None,
    task: D4RLTask | None,
) -> Transitions:
    layout = config.layout or usual_layout(arrays)
    if config.rows == "qlearning" and layout != "steps":
        raise ArgumentError(
            f"got rows 'qlearning' with layout {layout!r}, expected layout 'steps': "
            "`qlearning_dataset` knows no other"
        )
    goes_on = "masks" in arrays or (task is not None and task.name.startswith("antmaze"))
    ends = not goes_on if config.terminals_end is None else config.terminals_end
    if config.rewards == "success":
        arrays["rewards"] = np.zeros(arrays["terminals"].shape, dtype=np.float32)
    arrays = rows_of_layout(arrays, layout, source)
    limit = config.max_episode_steps
    if limit is None and "timeouts" not in arrays:
        limit = step_limit(task.name if task else environment)
        if limit is not None:
            logger.info("%s: no timeouts, so episodes are cut after %s steps", source, limit)
    if config.rewards == "success":
        arrays |= _successful(arrays, limit, ends, source)
    return Transitions.from_arrays(
        **{key: array for key, array in arrays.items() if key != "success"},
        rows=config.rows,
        max_episode_steps=limit,
        terminals_end=ends,
        source=source,
        environment=environment or (task.environment if task else None),
    )


def _successful(
    arrays: Mapping[str, np.ndarray], limit: int | None, ends: bool, source: str
) -> dict[str, np.ndarray]:
    """Rewards, and terminals with the ends of successful episodes among them."""
    terminals = flag_column("terminals", arrays["terminals"], source)
    success = flag_column("success", arrays["success"], source)
    if len(success) != len(terminals):
        raise DataError(
            f"got {len(success)} rows, expected {len(terminals)} as in 'terminals'",
            source=source,
            key="success",
            remedy="record the file again, or cut every array to the same rows",
        )
    last = terminals & ends
    if "timeouts" in arrays:
        last |= flag_column("timeouts", arrays["timeouts"], source)
    elif limit is not None and limit > 0:
        last |= count_timeouts(terminals, limit, ends)
    rewards, won = success_rewards(success, last)
    return {"rewards": rewards, "terminals": terminals | won}
