"""Policies that differ in one setting of Eq. 15, on critics and behavior models that all share.

For every file one sweep trains a critic and a behavior model of each seed and extracts policies as
the protocol has them; every further sweep is given its critics and behavior models and extracts
policies alone. What is finished in the run directory is not trained again, so that the figures that
are given the same directory share everything that they have in common.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.scores.protocol import Protocol
from scoreregs_offline_rl import (
    CloningStage,
    SweepGrid,
    SweepTable,
    TrainConfig,
    Transitions,
    load_data,
    sweep,
)
from scoreregs_offline_rl.files import load_json

__all__ = ["Budget", "Runs", "SharedModels", "Variant", "measure_variants"]

_QUICK = Protocol(
    critic_steps=4,
    behavior_steps=4,
    behavior_batch=32,
    behavior_width=16,
    policy_steps=4,
    episodes=1,
)
_SHARED = "protocol"
_MODELS = ("critic", "behavior")


@dataclass(frozen=True)
class Budget:
    """How much is trained and evaluated.

    Attributes:
        seeds: of critics, behavior models and policies.
        protocol: steps, sizes, temperature and episodes.
    """

    seeds: int = 2
    protocol: Protocol = field(default_factory=lambda: Protocol(policy_steps=4000))

    @classmethod
    def quick(cls) -> "Budget":
        """Returns a budget of seconds."""
        return cls(1, _QUICK)


@dataclass(frozen=True)
class Runs:
    """What is trained on, and where.

    Attributes:
        data: names of data sets, or files in D4RL's layout.
        folder: where runs are kept and found again.
    """

    data: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Variant:
    """Policies that are compared.

    Attributes:
        series: the line of the picture that they are on.
        place: where on that line.
        changes: of the policy's configuration.
        beta: their temperature; None: that of the protocol.
    """

    series: str
    place: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    beta: float | None = None


def measure_variants(budget: Budget, seed: int, runs: Runs, variants: Sequence[Variant]) -> Outcome:
    """Returns score and share outside the support of every variant on every file with every seed.

    Variants of equal changes are one sweep, whatever their temperatures.
    """
    seeds = tuple(range(seed, seed + budget.seeds))
    files: list[dict[str, Any]] = []
    names = ("file", "series", "place", "beta", "seed", "value", "outside")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    # All of them first: what cannot be read is told before anything is trained.
    loaded = {source: load_data(source) for source in runs.data}
    for source, data in loaded.items():
        file = Path(source).stem
        shared = SharedModels(budget.protocol, source, data, seeds, runs.folder / file)
        found = shared.extract(variants)
        for variant, beta, table in found:
            column = table.grid.betas.index(beta)
            for row, its in enumerate(seeds):
                numbers = float(table.values[row, column]), float(table.outside[row, column])
                line = (file, variant.series, variant.place, beta, its, *numbers)
                for name, value in zip(names, line, strict=True):
                    rows[name].append(value)
        _, _, first = found[0]
        about = {"file": file, "unit": first.unit, "data": first.data, "seeds": len(seeds)}
        files.append({**about, "cloning": shared.cloning(first.kind), "passed": shared.passed()})
    return Outcome({"files": files}, {"members": rows})


@dataclass(frozen=True, eq=False)
class SharedModels:
    """One file with the critics and behavior models that all policies on it share.

    Attributes:
        protocol: see `Budget`.
        source: the name of the data.
        data: the data.
        seeds: see `Budget`.
        folder: of everything that is trained on the file.
    """

    protocol: Protocol
    source: str
    data: Transitions
    seeds: tuple[int, ...]
    folder: Path

    def extract(self, variants: Iterable[Variant]) -> list[tuple[Variant, float, SweepTable]]:
        """Returns each variant with its temperature and the sweep that it is in."""
        groups: dict[str, list[tuple[Variant, float]]] = {}
        for variant in variants:
            beta = self.protocol.beta if variant.beta is None else variant.beta
            groups.setdefault(_name(variant.changes), []).append((variant, beta))
        shared = self._sweep(_SHARED, self._config, (self.protocol.beta,))
        found: list[tuple[Variant, float, SweepTable]] = []
        for name, members in groups.items():
            changes = members[0][0].changes
            betas = tuple(dict.fromkeys(beta for _, beta in members))
            if not changes and betas == (self.protocol.beta,):
                table = shared
            else:
                label = "_".join([name, *(f"{beta:g}" for beta in betas)])
                table = self._sweep(label, self._extraction(changes), betas)
            found += [(variant, beta, table) for variant, beta in members]
        return found

    def cloning(self, kind: str) -> list[float]:
        """Returns what clones of the data reach, one of each seed; none without an environment."""
        if kind == "outside":
            return []
        name, betas = CloningStage.name, (self.protocol.beta,)
        return self._sweep(name, self._config, betas, (name,)).values[:, 0].tolist()

    def passed(self) -> dict[str, int]:
        """Returns how many of the shared critics and behavior models passed their checks."""
        members = load_json(self.folder / _SHARED / "result.json")["members"].values()
        return {stage: sum(line["health"][stage]["ok"] for line in members) for stage in _MODELS}

    @property
    def _config(self) -> TrainConfig:
        return self.protocol.config(Path(self.source), 0)

    def _extraction(self, changes: Mapping[str, Any]) -> TrainConfig:
        """Returns the configuration of policies on the shared critics and behavior models."""
        config, models = self._config, str(self.folder / _SHARED)
        return replace(
            config,
            critic=replace(config.critic, weights=models),
            behavior=replace(config.behavior, weights=models),
            policy=replace(config.policy, **changes),
        )

    def _sweep(
        self,
        label: str,
        config: TrainConfig,
        betas: tuple[float, ...],
        stages: Sequence[str] | None = None,
    ) -> SweepTable:
        grid = SweepGrid(self.seeds, betas)
        return sweep(config, self.folder / label, grid=grid, stages=stages, data=self.data)


def _name(changes: Mapping[str, Any]) -> str:
    """Returns a folder's name for changes of the configuration."""

    def words(value: Any) -> str:
        return "-".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)

    return "_".join(f"{name}-{words(value)}" for name, value in changes.items()) or "temperature"
