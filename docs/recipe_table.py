"""The table of recipes as plug-ins, read from the objectives that they return.

python -m docs.recipe_table

writes it into docs/recipes.md; a test fails where the page differs.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreregs import (
    GaussianMixturePrior,
    ScorePrior,
    ScoreRegularizedObjective,
    VPSchedule,
    recipes,
)
from scoreregs.times import FixedTime, UniformTimes
from scoreregs.weightings import CustomWeighting

__all__ = ["page_with", "table"]

PAGE = Path(__file__).with_name("recipes.md")
HEAD = ("Recipe", "Value", "Prior", "Weighting", "Baseline", "Times", "Noise", "Residual")


def _prior() -> ScorePrior:
    return GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())


def _value(x: Tensor, condition: object) -> Tensor:
    return x.sum(-1)


# What a parameter of a recipe is given.
_ARGUMENTS: dict[str, Callable[[], Any]] = {
    "value": lambda: _value,
    "prior": _prior,
    "fake": _prior,
    "null": lambda: torch.zeros(1, 1),
    "negative": lambda: torch.zeros(1, 1),
    "reference": lambda: torch.zeros(1, 1),
    "condition": lambda: torch.zeros(1, 1),
    "steps": lambda: 10,
}


def row(name: str) -> tuple[str, ...]:
    """Returns the cells of a recipe."""
    recipe = getattr(recipes, name)
    parameters = inspect.signature(recipe).parameters
    needed = [p for p in parameters.values() if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    given = {parameter.name: _ARGUMENTS[parameter.name]() for parameter in needed}
    returned = recipe(**given)
    objective = returned[0] if isinstance(returned, tuple) else returned
    assert isinstance(objective, ScoreRegularizedObjective)
    optional = "value" in parameters and "value" not in given
    prior = "as given" if objective.prior is given["prior"] else _name(objective.prior)
    return (
        f"`{name}`",
        "yes" if "value" in given else "optional" if optional else "none",
        prior + (", and a trained one" if "fake" in given else ""),
        "a function of the log-SNR"
        if isinstance(objective.weighting, CustomWeighting)
        else _name(objective.weighting),
        _name(objective.baseline),
        _times(objective.times),
        _name(objective.noiser),
        "through the prior" if objective.through_prior else "Eq. 15",
    )


def table() -> str:
    """Returns the table in Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *(row(name) for name in recipes.__all__)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def page_with(new: str, page: str) -> str:
    """Returns a page with its table of plug-ins replaced."""
    pattern = re.escape(f"| {' | '.join(HEAD)} |") + r"\n(\|.*\|\n)*"
    replaced, count = re.subn(pattern, lambda _: new + "\n", page)
    assert count == 1
    return replaced


def _name(found: object) -> str:
    return f"`{type(found).__name__}`"


def _times(times: object) -> str:
    if isinstance(times, UniformTimes | FixedTime):
        return f"{times.low:g} to {times.high:g}"
    return _name(times)


if __name__ == "__main__":
    PAGE.write_text(page_with(table(), PAGE.read_text()))
