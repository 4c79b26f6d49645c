"""A run directory: whose it is, and which settings may still change."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelerate import Accelerator

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs.configuration import (
    STAGES,
    StageName,
    TrainConfig,
    differences,
    from_dict,
    to_dict,
)

__all__ = ["AGENT_FOLDERS", "check_data", "claim", "read_config"]

AGENT_FOLDERS = {"policy": "agent", "baseline": "baseline_agent"}
"""Folder of each finished policy in a run directory, by the stage that trained it."""
_CONFIG, _DATA = "config.json", "data.json"
_HASHED = ("observations", "actions", "rewards", "next_observations", "terminals")
# The stages that a setting, or a group of them, bears on; one that is not named here bears on all.
# Where the data lies and came from is free: its hash says whether it is the same.
_STAGES_OF: dict[str, tuple[StageName, ...]] = {
    "critic": ("critic",),
    "behavior": ("behavior",),
    "baseline": ("baseline",),
    "policy": ("baseline", "policy"),
    "beta": ("policy",),
    "evaluation": (),
    "trainer": (),
    "trainer.mixed_precision": STAGES,
    "data": (),
    "loading.mirrors": (),
}


def claim(
    run_dir: Path,
    config: TrainConfig,
    data: Transitions,
    accelerator: Accelerator,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write configuration and data's hash into a run directory that is new or agrees with them.

    A setting may change until a stage that it bears on has started. With them goes what else the
    caller has checked, by file name.

    Raises:
        RunError: The directory holds a run of another configuration or of other data.
    """
    contents = {_CONFIG: to_dict(config), _DATA: _fingerprint(data)}
    for name, content in contents.items():
        path = run_dir / name
        changes = differences(load_json(path), content) if path.exists() else []
        fixed = [change for change in changes if _has_started(run_dir, name, change)]
        if fixed:
            raise RunError(
                f"got another configuration than that of the run in {run_dir} "
                f"({'; '.join(fixed)}): choose another run directory"
            )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _remove_partial(run_dir)
        for name, content in {**more, **contents}.items():
            save_json(run_dir / name, content)
    accelerator.wait_for_everyone()


def read_config(run_dir: Path) -> TrainConfig:
    """The configuration of the run in a directory.

    Raises:
        RunError: It holds none.
    """
    if not (run_dir / _CONFIG).exists():
        raise RunError(f"got {run_dir}, which holds no run: name a directory that was trained in")
    return from_dict(TrainConfig, load_json(run_dir / _CONFIG))


def check_data(run_dir: Path, data: Transitions) -> None:
    """See that data is that of the run in a directory.

    Raises:
        RunError: It is other data, or the directory holds no run.
    """
    changes = differences(load_json(run_dir / _DATA), _fingerprint(data))
    if changes:
        raise RunError(
            f"got other data than that of the run in {run_dir} ({'; '.join(changes)}): put back "
            "the data that it was trained on"
        )


def _remove_partial(run_dir: Path) -> None:
    """Remove what was being written when a run was killed."""
    for path in sorted(run_dir.rglob("*.partial*"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _has_started(run_dir: Path, file: str, change: str) -> bool:
    name = change.split(":")[0]
    stages = STAGES
    if file == _CONFIG:
        stages = _STAGES_OF.get(name, _STAGES_OF.get(name.split(".")[0], STAGES))
    return any((run_dir / stage).exists() for stage in stages)


def _fingerprint(data: Transitions) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in _HASHED:
        digest.update(getattr(data, name).numpy().tobytes())
    return {"rows": len(data), "sha256": digest.hexdigest()}
