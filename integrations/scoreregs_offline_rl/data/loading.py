"""How a recording is read, and the step from named arrays to transitions that all files share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from scoreregs_offline_rl.data.transitions import RowSemantics, Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import D4RLTask, step_limit

__all__ = ["DataKeys", "LoadingConfig", "build_transitions", "choose_keys"]

_LOGGER = logging.getLogger(__name__)
_REQUIRED = ("observations", "actions", "rewards", "terminals")


@dataclass(frozen=True)
class DataKeys:
    """What a file calls its arrays; the defaults are D4RL's names."""

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


@dataclass(frozen=True)
class LoadingConfig:
    """How a data set is read."""

    keys: DataKeys = field(default_factory=DataKeys)
    """What an HDF5 or NPZ file calls its arrays."""
    rows: RowSemantics = "all"
    """Keep all rows that have a next observation, or those of D4RL's `qlearning_dataset`."""
    max_episode_steps: int | None = None
    """Steps after which an episode is cut, for a file without timeouts. None: that of the file's
    D4RL task or environment."""
    terminals_end: bool | None = None
    """Whether a terminal row ends its trajectory. None: yes, but not in a D4RL AntMaze task, where
    the ant goes on at the goal."""
    mirrors: tuple[str, ...] = ()
    """Where else to download a D4RL task from: folders by URL, or URLs with {file} or {name} in
    them. Those of the environment variable SCOREREGS_D4RL_MIRRORS, parted by spaces, follow."""


def choose_keys(keys: DataKeys, present: Iterable[str], source: str) -> dict[str, str]:
    """The keys to read out of those that there are, by our names.

    Raises:
        DataError: One is missing that is needed, or that the user has named.
    """
    present, usual = sorted(present), asdict(DataKeys())
    wanted = asdict(keys)
    for name, key in wanted.items():
        if key not in present and (name in _REQUIRED or key != usual[name]):
            raise DataError(
                f"got no such array among {', '.join(present) or 'none'}, expected the {name}",
                source=source,
                key=key,
                remedy=f"say what it is called (loading.keys.{name}), or add it",
            )
    return {name: key for name, key in wanted.items() if key in present}


def build_transitions(
    arrays: Mapping[str, np.ndarray],
    config: LoadingConfig,
    *,
    source: str,
    environment: str | None = None,
    task: D4RLTask | None = None,
) -> Transitions:
    """Build transitions from the arrays of a file, by our names.

    Args:
        arrays: Those of `choose_keys`.
        config: How to read them.
        source: What messages call the data.
        environment: Identifier of the environment, if the file says so.
        task: The D4RL task of the file, if it is one.

    Raises:
        DataError: See `Transitions.from_arrays`; the message names the file's own key.
    """
    limit = config.max_episode_steps
    if limit is None and "timeouts" not in arrays:
        limit = step_limit(task.name if task else environment)
        _LOGGER.info("%s: no timeouts, so episodes are cut after %s steps", source, limit)
    goes_on = task is not None and task.name.startswith("antmaze")
    try:
        return Transitions.from_arrays(
            **arrays,
            rows=config.rows,
            max_episode_steps=limit,
            terminals_end=not goes_on if config.terminals_end is None else config.terminals_end,
            source=source,
            environment=environment or (task.environment if task else None),
        )
    except DataError as error:
        key = asdict(config.keys).get(error.key or "", error.key)
        raise (error if key == error.key else error.with_key(key)) from None
