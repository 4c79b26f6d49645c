"""What a sweep found: a number for each seed at each temperature."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.verdict import NEAR
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.registry import StageRows, stages_of
from scoreregs_offline_rl.stages.stage import Curve

__all__ = ["SweepTable"]

_UNITS = {
    "score": "normalised score",
    "return": "return",
    "outside": "share of actions outside the data's support",
}


@named_calls
@dataclass(frozen=True, eq=False)
class SweepTable:
    """The members' results as a table of seeds by temperatures.

    Attributes:
        grid: seeds and temperatures.
        kind: what the numbers are: `score`, `return`, or `outside` without an environment.
        values: shape (seeds, temperatures).
        outside: share of the policy's actions that the policy check finds less likely than 95 % of
            the data's, shape (seeds, temperatures).
        data: the data's own score or return; None for `outside`.
        curves: the policies' metrics by name, (logged steps, seeds, temperatures), and `step`; with
            `EvaluationConfig.every` also `score`, or `return`, and its own `evaluated_step`.
        shown: name of the stage whose policies these are.
        by_beta: whether they follow the temperature; where not, each seed's number stands at all.
        excess: `prior_error_excess` of the verdicts, shape (seeds, temperatures); NaN where there
            is none, as without a clone.
    """

    grid: SweepGrid
    kind: str
    values: np.ndarray
    outside: np.ndarray
    data: float | None
    curves: dict[str, np.ndarray]
    shown: str = PolicyStage.name
    by_beta: bool = True
    excess: np.ndarray | None = None

    @classmethod
    @named_calls
    def load(cls, run_dir: Path) -> SweepTable:
        """Returns the result of a finished sweep, read from its directory.

        Raises:
            RunError: the directory holds none.
        """
        if not (run_dir / "grid.json").exists() or not (run_dir / "result.json").exists():
            raise RunError(f"got {run_dir}, which holds no finished sweep: let `sweep` go on there")
        stored = load_json(run_dir / "grid.json")
        grid = SweepGrid(tuple(stored["seeds"]), tuple(stored["betas"]))
        result = load_json(run_dir / "result.json")
        shown = result.get("shown", PolicyStage.name)
        lines = [result["members"][label] for label in grid.labels]
        shape = len(grid.seeds), len(grid.betas)
        found = [line["health"].get(shown, {}).get("measured", np.nan) for line in lines]
        outside = np.array(found).reshape(shape)
        policies = [line[shown] for line in lines]
        # Of a member that was lost there is nothing.
        kind = _kind(next((policy for policy in policies if policy is not None), None))
        values = outside if kind == "outside" else _values(policies, kind).reshape(shape)
        data = {"score": lines[0]["data_score"], "return": lines[0]["data_return"]}.get(kind)
        curves, known = _curves(run_dir, grid, shown, kind), stages_of(StageRows)
        # Older versions did not write it.
        by_beta = result.get("by_beta", shown not in known or known[shown].follows_beta)
        judged = shown == PolicyStage.name
        excess = np.array([_excess(line) for line in lines]).reshape(shape) if judged else None
        return cls(grid, kind, values, outside, data, curves, shown, by_beta, excess)

    @property
    def metric(self) -> str:
        """The name of the curve that all policies have, by their training."""
        return _metric(self.shown)

    @property
    def unit(self) -> str:
        """What the numbers are, for people."""
        return _UNITS[self.kind]

    @property
    def best(self) -> float | None:
        """The temperature of the best mean over seeds; without scores the largest that passes.

        One passes at whose actions the prior's error, at little noise, is at most 1 % above that
        at the clone's, or which, in a sweep without clones, leaves the data's support with at most
        half of its actions; for most seeds. Where none does it is the smallest. None where the
        policies follow no temperature, and where nothing was measured.
        """
        betas = np.array(self.grid.betas)
        if not self.by_beta or not self._measured:
            return None
        if self.kind != "outside":
            means = self.values.mean(0)
            return float(betas[np.where(np.isnan(means), -np.inf, means).argmax()])
        far, limit = self.outside, 0.5
        if self.excess is not None and not np.isnan(self.excess).all():
            # A member that was lost has none.
            far, limit = np.where(np.isnan(self.excess), np.inf, self.excess), NEAR
        passed = betas[np.median(far, axis=0) <= limit]
        return float(passed.max() if len(passed) else betas.min())

    def table(self) -> str:
        """Returns the numbers as a Markdown table: temperatures down, seeds across."""
        heads = ["beta", *(f"seed {seed}" for seed in self.grid.seeds), "mean", "outside support"]
        rows = [heads, ["---:"] * len(heads)]
        for column, beta in enumerate(self.columns):
            found = self.values[:, column]
            numbers = [self.text(number) for number in (*found, found.mean())]
            rows.append([beta, *numbers, _share(self.outside[:, column].mean())])
        lines = [f"| {' | '.join(row)} |" for row in rows]
        end = "" if self.data is None else f" The data's own: {self.data:.1f}."
        about = f"The numbers: {self.unit}.{end}"
        if not self._measured:
            about = "No numbers: no environment is known, and these policies have no check."
        return "\n".join([*lines, "", about])

    @property
    def columns(self) -> tuple[str, ...]:
        """The temperatures, as people write them; one word where they play no part."""
        return self.grid.beta_labels if self.by_beta else ("any",)

    @property
    def _measured(self) -> bool:
        return not np.isnan(self.values).all()

    def text(self, number: float) -> str:
        """Returns one of the numbers for people; a dash where nothing was measured."""
        digits = ".2f" if self.kind == "outside" else ".1f"
        return "-" if np.isnan(number) else f"{number:{digits}}"


def _share(number: float) -> str:
    return "-" if np.isnan(number) else f"{number:.0%}"


def _kind(policy: dict[str, Any] | None) -> str:
    if policy is None:
        return "outside"
    return "return" if policy["normalized_score"] is None else "score"


def _values(policies: list[dict[str, Any] | None], kind: str) -> np.ndarray:
    name = "normalized_score" if kind == "score" else "mean"
    return np.array([np.nan if policy is None else policy[name] for policy in policies])


def _curves(run_dir: Path, grid: SweepGrid, shown: str, kind: str) -> dict[str, np.ndarray]:
    path = run_dir / shown / "metrics.jsonl"
    # Weights that were taken from elsewhere have no history here.
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    metric = _metric(shown)
    evaluated = [line for line in lines if any(name.startswith(f"{kind}/") for name in line)]
    curves = {
        "step": np.array([line["step"] for line in lines]),
        metric: _curve(lines, metric, grid),
    }
    if evaluated:
        curves["evaluated_step"] = np.array([line["step"] for line in evaluated])
        curves[kind] = _curve(evaluated, kind, grid)
    return curves


def _metric(shown: str) -> str:
    known = stages_of(StageRows)
    return known[shown].curve.metric if shown in known else Curve().metric


def _curve(lines: list[dict[str, float]], name: str, grid: SweepGrid) -> np.ndarray:
    each, rows = len(grid.betas), []
    labels = list(zip(grid.labels, np.repeat(grid.seed_labels, each), strict=True))
    for line in lines:
        # A stage without a temperature has its numbers for each seed.
        rows.append([_mean(line, name, (own, seed)) for own, seed in labels])
    return np.array(rows, dtype=float).reshape(len(lines), len(grid.seeds), each)


def _mean(line: dict[str, float], name: str, labels: tuple[str, str]) -> float:
    """Returns a metric under the first label that has it, the mean over several policies' own."""
    for own in (f"{name}/{label}" for label in labels):
        found = [n for key, n in line.items() if key == own or key.startswith(f"{own}_policy-")]
        if found:
            return float(np.mean(found))
    if any(key.startswith(f"{name}/") for key in line):
        return np.nan
    raise RunError(f"got a line of metrics without {name} of {labels[0]}: sweep again")


def _excess(line: dict[str, Any]) -> float:
    verdict = line.get("verdict") or {"evidence": {}}
    return verdict["evidence"].get("prior_error_excess", float("nan"))
