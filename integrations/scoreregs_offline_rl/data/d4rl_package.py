"""What the `d4rl` package knows, where it is installed."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

__all__ = ["d4rl_infos"]


@cache
def d4rl_infos() -> ModuleType | None:
    """The module `d4rl.infos`: URLs and reference returns by task; None where there is none.

    It is run by itself, without the package around it, which imports gym, PyBullet and mujoco-py
    and needs a MuJoCo 2.1 that is seldom there.
    """
    package = importlib.util.find_spec("d4rl")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / "infos.py" if folders else None
    if path is None or not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("d4rl.infos", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
