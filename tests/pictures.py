"""Whether runs are drawn."""

from collections.abc import Iterator

import pytest

from scoreregs_offline_rl.runs import run

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
