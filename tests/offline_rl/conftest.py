"""What the tests of the integration share: one thread, and pictures where they are looked at."""

from collections.abc import Iterator

import pytest
import torch

from scoreregs_offline_rl.runs import run

torch.set_num_threads(1)
_DRAW = run.draw_run  # pyright: ignore[reportPrivateImportUsage]


@pytest.fixture(autouse=True, scope="session")
def no_pictures() -> Iterator[None]:
    """A picture takes longer than a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw_run", lambda directory, path: None)
        yield


@pytest.fixture(scope="module")
def pictures(no_pictures: None) -> Iterator[None]:
    """Runs of this module are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw_run", _DRAW)
        yield
