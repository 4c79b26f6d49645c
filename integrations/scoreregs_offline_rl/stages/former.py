"""What older versions wrote, read as what it means today."""

from typing import Any

from scoreregs_offline_rl.stages.registry import Stages

__all__ = ["current_config", "current_result"]

_BEFORE = {"minimum_std": 1e-3, "rewards": "return_range"}


def current_config(content: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Returns a configuration as JSON holds it, stages under the names that they have today.

    Settings that are newer than it are absent: their defaults mean what there was before them, or
    what there was stands here.
    """
    trainer = content.get("trainer", {})
    if isinstance(trainer, dict):
        trainer = {"draws": 1, **trainer}
    return _BEFORE | _renamed({**content, "trainer": trainer}, stages)


def current_result(content: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Returns a result as JSON holds it, stages under the names that they have today."""
    renamed = _renamed(content, stages)
    for group in ("stages", "health"):
        if isinstance(renamed.get(group), dict):
            renamed[group] = _renamed(renamed[group], stages)
    return renamed


def _renamed(content: dict[str, Any], stages: Stages) -> dict[str, Any]:
    names = {former: name for name, stage in stages.items() for former in stage.former_names}
    return {names.get(name, name): value for name, value in content.items()}
