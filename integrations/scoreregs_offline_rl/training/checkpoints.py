"""Checkpoints of a stage: folders that are complete once they have their name."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, save_json, sha256_of, writing
from scoreregs_offline_rl.training.agreement import together

__all__ = ["Checkpoints", "newest_step"]

_PREFIX = "step-"
_PARTIAL = ".partial"
_STATE = "trainer.json"


class Checkpoints:
    """The newest few checkpoints of a stage, in a folder of their own.

    A checkpoint is Accelerate's state and the trainer's own, written under a name that is never
    read and renamed when it is whole; its removal goes through that name too. With several
    processes, every process calls the methods and the folder is shared.

    Args:
        folder: where the checkpoints lie.
        accelerator: holds what is saved: the prepared model, optimiser and schedule.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, *, keep: int) -> None:
        self._folder = folder
        self._accelerator = accelerator
        self._keep = keep

    def save(self, step: int, state: dict[str, object]) -> None:
        """Writes the checkpoint of a step with the trainer's own state, then drops the oldest.

        Raises:
            RunError: nothing can be written; those of before stay as they are.
        """
        final = self._folder / _name(step)
        partial = final.with_name(final.name + _PARTIAL)
        try:
            self._save(step, state, partial, final)
        except RunError:
            if self._accelerator.is_main_process:
                self._remove_partial()
            raise

    def _save(self, step: int, state: dict[str, object], partial: Path, final: Path) -> None:
        accelerator = self._accelerator
        with together(), writing(final):
            if accelerator.is_main_process:
                self._remove_partial()
        with together(), writing(final):
            accelerator.save_state(str(partial))
        with together(), writing(final):
            if accelerator.is_main_process:
                digests = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
                save_json(partial / _STATE, {"step": step, **state, "sha256": digests})
                partial.rename(final)
                for old in self._complete()[: -self._keep]:
                    old.rename(old.with_name(old.name + _PARTIAL))
                self._remove_partial()

    def load_newest(self) -> dict | None:
        """Loads the newest checkpoint and returns the trainer's state; None where there is none.

        Raises:
            RunError: where its files are damaged or gone.
        """
        self._accelerator.wait_for_everyone()
        complete = self._complete()
        if not complete:
            return None
        with together():
            return self._load(complete)

    def _load(self, complete: Sequence[Path]) -> dict:
        newest = complete[-1]
        try:
            state = load_json(newest / _STATE)
            _check(newest, state)
            self._accelerator.load_state(str(newest))
        except torch.OutOfMemoryError:
            raise
        # Damaged bytes make readers raise anything, with advice that would do harm: to unpickle.
        except Exception as error:
            reason = error if isinstance(error, RunError) else "its files cannot be read"
            before = f"from {complete[-2].name}" if complete[1:] else "from its start"
            raise RunError(
                f"got a damaged checkpoint, {newest} ({reason}), expected the files as they were "
                f"written: remove that folder, and the same command goes on {before}"
            ) from None
        return state

    def _complete(self) -> list[Path]:
        """Returns the complete checkpoints, oldest first."""
        return _complete(self._folder)

    def _remove_partial(self) -> None:
        for path in self._folder.glob(f"{_PREFIX}*{_PARTIAL}"):
            shutil.rmtree(path)


def newest_step(folder: Path) -> int:
    """Returns the step of the newest checkpoint in a folder; 0 where there is none."""
    complete = _complete(folder)
    return int(complete[-1].name.removeprefix(_PREFIX)) if complete else 0


def _complete(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = folder.glob(f"{_PREFIX}*")
    return sorted(path for path in found if path.suffix != _PARTIAL)


def _name(step: int) -> str:
    return f"{_PREFIX}{step:09d}"


def _check(checkpoint: Path, state: dict[str, Any]) -> None:
    """Raises `RunError` unless a checkpoint is of its name's step and as it was written."""
    if missing := {"step", "seconds", "latest", "mean"} - set(state):
        raise RunError(f"got a state without {sorted(missing)}")
    if _name(state["step"]) != checkpoint.name:
        raise RunError(f"got a state of step {state['step']}")
    # Checkpoints of earlier versions have no digests.
    for name, digest in state.get("sha256", {}).items():
        if sha256_of(checkpoint / name) != digest:
            raise RunError(f"got another {name}")
