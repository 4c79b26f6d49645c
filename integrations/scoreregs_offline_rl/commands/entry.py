"""Where the command starts: what can be answered without PyTorch is answered without it."""

import sys
from collections.abc import Sequence
from importlib import metadata

from scoreregs_offline_rl.commands.overview import overview

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code, as `commands.main.main` does.

    Args:
        arguments: in place of those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["-h"], ["--help"]):
        print(overview())
        return 0
    if given == ["--version"]:
        print(_version())
        return 0
    try:
        from scoreregs_offline_rl.commands.main import main as run
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if not package or package.startswith("scoreregs"):
            raise
        print(
            f"error: got no package {package!r}, which the command needs: install it with "
            "pip install 'scoreregs[offline-rl]'",
            file=sys.stderr,
        )
        return 2
    return run(given)


def _version() -> str:
    """What `scoreregs.__version__` says, which PyTorch comes with."""
    try:
        return metadata.version("scoreregs")
    except metadata.PackageNotFoundError:
        return "unknown"
