"""Checkpoints of a stage: folders that are complete once they have their name."""

import shutil
from pathlib import Path

from accelerate import Accelerator

from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["Checkpoints"]

_PREFIX = "step-"
_PARTIAL = ".partial"


class Checkpoints:
    """The newest few checkpoints of a stage, in a folder of their own.

    A checkpoint is Accelerate's state and the trainer's own, written under a name that is never
    read and renamed when it is whole; its removal goes through that name too. With several
    processes, every process calls the methods and the folder is shared.

    Args:
        folder: Where the checkpoints lie.
        accelerator: Holds what is saved: the prepared model, optimiser and schedule.
        keep: How many of the newest are kept.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, *, keep: int) -> None:
        self._folder = folder
        self._accelerator = accelerator
        self._keep = keep

    def save(self, step: int, state: dict[str, object]) -> None:
        """Write the checkpoint of a step with the trainer's own state, then drop the oldest."""
        accelerator = self._accelerator
        final = self._folder / f"{_PREFIX}{step:09d}"
        partial = final.with_name(final.name + _PARTIAL)
        if accelerator.is_main_process:
            self._remove_partial()
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            save_json(partial / "trainer.json", {"step": step, **state})
            partial.rename(final)
            for old in self._complete()[: -self._keep]:
                old.rename(old.with_name(old.name + _PARTIAL))
            self._remove_partial()
        accelerator.wait_for_everyone()

    def load_newest(self) -> dict | None:
        """Load the newest checkpoint and return the trainer's state; None where there is none."""
        self._accelerator.wait_for_everyone()
        complete = self._complete()
        if not complete:
            return None
        self._accelerator.load_state(str(complete[-1]))
        return load_json(complete[-1] / "trainer.json")

    def _complete(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        if not self._folder.is_dir():
            return []
        found = self._folder.glob(f"{_PREFIX}*")
        return sorted(path for path in found if path.suffix != _PARTIAL)

    def _remove_partial(self) -> None:
        for path in self._folder.glob(f"{_PREFIX}*{_PARTIAL}"):
            shutil.rmtree(path)
