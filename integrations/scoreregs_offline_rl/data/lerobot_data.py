"""LeRobot's data sets, versions 2 and 3, from a folder or the Hugging Face Hub."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.columns import flag_column
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.lerobot_names import interface_of
from scoreregs_offline_rl.data.loading import (
    DataKeys,
    LoadingConfig,
    build_transitions,
    choose_keys,
)
from scoreregs_offline_rl.data.room import Room
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.files import load_json

__all__ = ["is_lerobot_folder", "load_lerobot"]

logger = logging.getLogger(__name__)

# LeRobot's names of what `DataKeys` calls otherwise by default.
_COLUMNS = {
    "observations": "observation.state",
    "actions": "action",
    "rewards": "next.reward",
    "success": "next.success",
}
_MORE_STATE = "observation.environment_state"
_ORDER = ("episode_index", "frame_index")
_PATTERNS = ("meta/**", "data/**")


def load_lerobot(
    name: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Returns a data set of LeRobot, version 2.0, 2.1 or 3.0, without its pictures.

    Observations are `observation.state` with `observation.environment_state` behind it, actions
    `action`, rewards `next.reward`; an episode is the frames of one `episode_index`. Its last frame
    is cut, unless `next.success` says that it ended for good, or `next.done` does where it is not
    merely set in the last frame of every episode. What followed a cut frame is not recorded, so it
    is left out.

    Args:
        name: the folder that holds `meta/info.json`, or the id of a data set on the Hub, which is
            downloaded into the Hub's cache.
        config: how to read it; its keys name other columns, as rewards. `rewards="success"` makes
            rewards of `next.success`.
        progress: told of no download; the Hub shows its own.

    Raises:
        DataError: where there is no such data set, it is damaged, lacks a column or holds data that
            `Transitions.from_arrays` refuses.
        MissingDependencyError: unless pyarrow is installed.
    """
    config, source = config or LoadingConfig(), os.fspath(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _download(source)
    with _reading(source):
        features = _features(folder, source)
    keys = _keys(config, features)
    config = replace(config, keys=keys)
    # Episodes say where trajectories end; what is terminal is worked out below.
    has = {*features, keys.terminals, keys.timeouts}
    columns = choose_keys(config, has, source)
    del columns["terminals"], columns["timeouts"]
    extra = [key for key in ("next.done", "next.success", "next.truncated") if key in features]
    if keys.observations == _COLUMNS["observations"] and _MORE_STATE in features:
        extra.append(_MORE_STATE)
    if keys.terminals in features:
        extra.append(keys.terminals)
    with _reading(source):
        read = _read(folder, {*columns.values(), *extra, *_ORDER}, source)
    arrays = {ours: read[column] for ours, column in columns.items()}
    if _MORE_STATE in extra:
        arrays["observations"] = np.concatenate(
            [_as_rows(arrays["observations"]), _as_rows(read[_MORE_STATE])], axis=1
        )
    for ours in ("observations", "actions"):
        arrays[ours] = _as_rows(arrays[ours])
    last = np.append(np.diff(read["episode_index"].reshape(-1)) != 0, True)
    terminals = (
        read[keys.terminals] if keys.terminals in features else _terminals(read, last, source)
    )
    arrays |= {"terminals": terminals, "timeouts": last}
    data = build_transitions(arrays, config, source=source)
    state = {columns["observations"]: data.observations.shape[1]}
    if _MORE_STATE in extra:
        more = _as_rows(read[_MORE_STATE]).shape[1]
        state = {columns["observations"]: data.observations.shape[1] - more, _MORE_STATE: more}
    fps = load_json(folder / "meta" / "info.json").get("fps")
    action = {columns["actions"]: data.actions.shape[1]}
    return replace(data, interface=interface_of(features, fps, state, action))


def is_lerobot_folder(path: Path) -> bool:
    """Returns whether a folder looks like a data set of LeRobot.

    Args:
        path: the folder.
    """
    return (path / "meta" / "info.json").is_file()


def _keys(config: LoadingConfig, features: dict[str, Any]) -> DataKeys:
    """The columns to read: LeRobot's names, but for those that the user gives."""
    given, usual = config.keys, DataKeys()
    names = {
        ours: column
        for ours, column in _COLUMNS.items()
        if getattr(given, ours) == getattr(usual, ours) and getattr(usual, ours) not in features
    }
    return replace(given, **names)


def _terminals(read: dict[str, np.ndarray], last: np.ndarray, source: str) -> np.ndarray:
    """What ended for good, as far as the columns say."""
    says = ("next.done", "next.truncated", "next.success")
    flags = {key: flag_column(key, read[key], source) for key in says if key in read}
    done = flags.get("next.done", last)
    if "next.truncated" in flags:
        return done & ~flags["next.truncated"]
    if "next.success" in flags:
        return last & flags["next.success"]
    if "next.done" in read and not np.array_equal(done, last):
        return done
    return np.zeros(len(last), dtype=bool)


def _as_rows(column: np.ndarray) -> np.ndarray:
    return column[:, None] if column.ndim == 1 else column


def _features(folder: Path, source: str) -> dict[str, Any]:
    """The columns that the data set says it has."""
    info = load_json(folder / "meta" / "info.json")
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        raise DataError(
            "got no features in meta/info.json, expected LeRobot's",
            source=source,
            remedy="record or download it again",
        )
    version = str(info.get("codebase_version"))
    if not re.fullmatch(r"v[23]\.\d+", version):
        raise DataError(
            f"got version {version}, expected v2.0, v2.1 or v3.0",
            source=source,
            remedy="convert it with LeRobot's scripts",
        )
    if isinstance(tasks := info.get("total_tasks"), int) and tasks > 1:
        logger.warning(
            "%s: %d tasks are mixed, and the policy is not told which one it is at", source, tasks
        )
    return {
        name: feature
        for name, feature in info["features"].items()
        if isinstance(feature, dict) and feature.get("dtype") not in ("video", "image")
    }


def _read(folder: Path, columns: set[str], source: str) -> dict[str, np.ndarray]:
    """The columns of all frames, in the order of episodes and frames."""
    parquet = _arrow("pyarrow.parquet")
    files = sorted((folder / "data").rglob("*.parquet"))
    if not files:
        raise DataError(
            "got no parquet file in data, expected LeRobot's",
            source=source,
            remedy="record or download it again",
        )
    parts: dict[str, list[np.ndarray]] = {column: [] for column in sorted(columns)}
    room = Room(source)
    for file in files:
        opened = parquet.ParquetFile(file)
        _take_room(opened.metadata, columns, room)
        table = opened.read(columns=sorted(columns))
        for column, arrays in parts.items():
            arrays.append(_as_array(table, column, f"{source}: {file.relative_to(folder)}"))
    read = {column: np.concatenate(arrays) for column, arrays in parts.items()}
    order = np.lexsort((read["frame_index"], read["episode_index"]))
    read = {column: array[order] for column, array in read.items()}
    episode, frame = read["episode_index"], read["frame_index"]
    starts = np.append(True, np.diff(episode) != 0)
    expected = np.arange(len(frame)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    if not np.array_equal(frame - frame[starts][np.cumsum(starts) - 1], expected):
        row = int((frame != expected).argmax())
        raise DataError(
            f"got frame {frame[row]} of episode {episode[row]}, expected frame {expected[row]}",
            source=source,
            key="frame_index",
            row=row,
            remedy="a file is missing or there twice: download the data set again",
        )
    promised = load_json(folder / "meta" / "info.json").get("total_frames")
    if promised is not None and promised != len(frame):
        raise DataError(
            f"got {len(frame)} frames, expected {promised} as in meta/info.json",
            source=source,
            remedy="download the data set again",
        )
    return read


def _take_room(metadata: Any, columns: set[str], room: Room) -> None:
    """Refuses more numbers than memory holds, of which a file may tell in a few bytes."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for part in map(group.column, range(group.num_columns)):
            # A list's numbers are in a column under its own.
            for column in columns:
                if f"{part.path_in_schema}.".startswith(f"{column}."):
                    room.take(column, (part.num_values,), 8)


def _as_array(table: Any, column: str, source: str) -> np.ndarray:
    """A column as an array, lists of one length as its rows."""
    if column not in table.column_names:
        raise DataError(
            f"got no such column among {', '.join(table.column_names)}, expected that of "
            "meta/info.json",
            source=source,
            key=column,
            remedy="record or download it again",
        )
    pa = _arrow()
    values = table.column(column).combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([])
    shape = [len(values)]
    while _is_list(pa, values.type):
        inner = values.flatten()
        width, rest = divmod(len(inner), max(len(values), 1))
        lengths = values.value_lengths() if hasattr(values, "value_lengths") else None
        uneven = lengths is not None and lengths.null_count == 0 and lengths.unique().to_pylist()
        if values.null_count or rest or (uneven and len(uneven) > 1):
            raise DataError(
                "got lists of several lengths, expected one",
                source=source,
                key=column,
                remedy="record or download it again",
            )
        shape.append(width)
        values = inner
    if values.null_count:
        raise DataError(
            f"got {values.null_count} empty values, expected a number in every frame",
            source=source,
            key=column,
            remedy="record them, or leave the episodes out",
        )
    array = values.to_numpy(zero_copy_only=False)
    array = array.reshape(shape)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 and column in _ORDER else array


def _is_list(pa: Any, kind: Any) -> bool:
    kinds = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(is_kind(kind) for is_kind in kinds)


def _arrow(module: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "lerobot") from error


def _download(name: str) -> Path:
    """The folder of a data set in the Hub's cache."""
    with _reading(name):
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=list(_PATTERNS)))


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """What the Hub and pyarrow raise becomes a DataError."""
    arrow: type[BaseException] = _arrow().ArrowException
    # The Hub's HTTP library differs by version; this is the root of its errors.
    network: type[BaseException] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except DataError:
        raise
    except (
        RunError,
        arrow,
        network,
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        TypeError,
        ValueError,
    ) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"got no data set of LeRobot that can be read ({said:.300}), expected a folder with "
            "meta/info.json and data/, or an id on the Hub, as lerobot/pusht",
            source=source,
            remedy="check the name and the connection, or download it again",
        ) from error
