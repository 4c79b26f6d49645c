"""The stages that there are: a row each.

A configuration class whose base is `StageRows` has them; one derived from it adds rows of its own.
Where several stages give a value, or a prior, the last row does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from typing_extensions import Self

from scoreregs.arguments import check_keywords
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.awr import AWRConfig, AWRStage
from scoreregs_offline_rl.stages.behavior import BehaviorConfig, BehaviorStage
from scoreregs_offline_rl.stages.cloning import CloningConfig, CloningStage
from scoreregs_offline_rl.stages.critic import CriticConfig, CriticStage
from scoreregs_offline_rl.stages.policy import PolicyConfig, PolicyStage
from scoreregs_offline_rl.stages.stage import Stage, row
from scoreregs_offline_rl.stages.td3_bc import TD3BCConfig, TD3BCStage

__all__ = [
    "StageRows",
    "Stages",
    "actors_of",
    "known_name",
    "label_of",
    "stages_of",
    "with_needs",
]


# What a run directory and a result hold beside the stages.
_FOLDERS = {"agent", "members", "checkpoints", "data", "labels", "scores", "health", "stages"}


class Stages(dict[str, type[Stage[Any]]]):
    """Stages by name: what one needs comes before it, otherwise in the order of their rows.

    Args:
        rows: in the order of the rows.

    Raises:
        ArgumentError: stages need each other.
    """

    def __init__(self, rows: Mapping[str, type[Stage[Any]]]) -> None:
        super().__init__()
        self._rows = tuple(rows.values())
        for stage in self._rows:
            self._place(stage, ())

    def provider(self, need: type[Stage[Any]]) -> type[Stage[Any]]:
        """Returns the stage that gives what a kind of stage gives: the last row of that kind."""
        return [stage for stage in self._rows if issubclass(stage, need)][-1]

    def _place(self, stage: type[Stage[Any]], waiting: tuple[str, ...]) -> None:
        if stage.name in waiting:
            raise ArgumentError(
                f"got stages that need each other ({' -> '.join((*waiting, stage.name))}), "
                "expected each to need others alone: change their `needs`"
            )
        for need in stage.needs:
            self._place(self.provider(need), (*waiting, stage.name))
        self.setdefault(stage.name, stage)


@dataclass(frozen=True)
class StageRows:
    """The stages of the package, with their settings."""

    critic: CriticConfig = row(CriticStage, CriticConfig)
    behavior: BehaviorConfig = row(BehaviorStage, BehaviorConfig)
    cloning: CloningConfig = row(CloningStage, CloningConfig)
    awr: AWRConfig = row(AWRStage, AWRConfig)
    td3_bc: TD3BCConfig = row(TD3BCStage, TD3BCConfig)
    policy: PolicyConfig = row(PolicyStage, PolicyConfig)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuses a mistyped keyword; the construction of a derived dataclass knows no others."""
        del args
        check_keywords(kwargs, [field.name for field in fields(cls)])
        return super().__new__(cls)


def stages_of(rows: type[StageRows]) -> Stages:
    """Returns the stages of a configuration class by name, in the order of training.

    Raises:
        ArgumentError: a row has another name than its stage, a stage comes twice, or needs what no
            row gives.

    Example:
        >>> list(stages_of(StageRows))
        ['critic', 'behavior', 'cloning', 'awr', 'td3_bc', 'policy']
    """
    found: dict[str, type[Stage[Any]]] = {}
    bases = [base for base in rows.__mro__ if is_dataclass(base)]
    before = [(f.name, f.metadata.get("stage")) for base in bases for f in fields(base)]
    taken = {name for name, stage in before if stage is None} | _FOLDERS
    for field in fields(rows):
        if "stage" not in field.metadata:
            continue
        stage: type[Stage[Any]] = field.metadata["stage"]
        missing = [
            n for n in ("name", "label", "help") if not isinstance(getattr(stage, n, None), str)
        ]
        if missing:
            raise ArgumentError(
                f"got {stage.__name__} without {', '.join(missing)}, expected a text each: say "
                "what it is called"
            )
        if not isinstance(stage.needs, tuple):
            raise ArgumentError(
                f"got needs = {stage.needs!r} of {stage.__name__}, expected a tuple of kinds of "
                "stages: put it into brackets, with a comma behind it"
            )
        replaced = any(n == field.name and s is not stage for n, s in before)
        if field.name in taken or replaced:
            raise ArgumentError(
                f"got a stage called {field.name!r}, which is a setting's, a folder's or an older "
                "stage's name: choose another"
            )
        taken |= {field.name, *stage.former_names}
        if field.name != stage.name:
            raise ArgumentError(
                f"got the row {field.name!r} of {rows.__name__} for {stage.__name__}, whose name "
                f"is {stage.name!r}, expected the same: rename one of them"
            )
        found[stage.name] = stage
    for stage in found.values():
        for need in stage.needs:
            if not any(issubclass(other, need) for other in found.values()):
                raise ArgumentError(
                    f"got the stage {stage.name!r}, which needs a {need.__name__}, and no row of "
                    f"{rows.__name__} is one: add its row"
                )
    return Stages(found)


def actors_of(stages: Stages) -> dict[str, type[ActorStage[Any]]]:
    """Returns those whose outcome is a policy."""
    return {name: stage for name, stage in stages.items() if issubclass(stage, ActorStage)}


def with_needs(stages: Stages, names: set[str], config: StageRows) -> list[str]:
    """Returns names with those of the stages that they build on, in the order of training."""
    used = set(names)
    for name in reversed(stages):
        if name in used:
            needs = stages[name].needs_for(getattr(config, name))
            used |= {stages.provider(need).name for need in needs}
    return [name for name in stages if name in used]


def label_of(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Returns what people call a stage, the data, or a stage that only a result knows.

    Args:
        name: of the stage.
        labels: those of a result, which hold a user's own stages.
    """
    stage = stages_of(StageRows).get(name)
    return stage.label if stage else (labels or {}).get(name, name)


def known_name(stages: Stages, name: str) -> str | None:
    """Returns the name of a stage, also with hyphens, or from what older versions called it.

    It is None where there is no such stage.
    """
    written = str(name).replace("-", "_")
    for known, stage in stages.items():
        if written == known or written in stage.former_names:
            return known
    return None
