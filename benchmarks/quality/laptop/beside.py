"""What the preset is compared with, on the same data and with the same seed and episodes.

None has a setting by file but the paper's code, whose temperature is that of its own Table 2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.paper_code import checked_checkout
from benchmarks.quality.laptop.runs import PRESET, rows_of_result
from benchmarks.quality.scores.paper import run_paper
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, kept_rows
from benchmarks.quality.scores.selection import run_selection
from scoreregs_offline_rl import PolicyStage, TD3BCStage, TrainConfig, train
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.stages.registry import with_needs
from scoreregs_offline_rl.tasks import paper_settings

__all__ = ["BESIDE", "LABELS", "Run", "rows_beside"]

_TRIAL_STEPS = 30
# Its actions take hundreds of times as many evaluations of a network as a policy's.
_EPISODES_OF_SELECTION = 5


@dataclass(frozen=True)
class Run:
    """A run of the preset that is finished, to compare with.

    Attributes:
        data: its file.
        folder: holds it, and what is trained beside it.
        config: its settings.
        paper_code: a checkout of github.com/thu-ml/SRPO.
    """

    data: Path
    folder: Path
    config: TrainConfig
    paper_code: Path | None = None

    @property
    def preset(self) -> Path:
        """Its directory."""
        return self.folder / PRESET

    @property
    def seconds(self) -> float:
        """How long it trained for its policy."""
        rows = self.rows_of(load_json(self.preset / "result.json"))
        return next(row["seconds"] for row in rows if row["method"] == PolicyStage.label)

    def rows_of(self, result: dict[str, object]) -> list[Row]:
        """Returns the rows of a result on its data, with its seed."""
        return rows_of_result(result, self.data, self.config.seed, self.config)

    def trained(self, config: TrainConfig, name: str, stage: str, label: str) -> list[Row]:
        """Returns the row of one policy, of a run that begins with the stages of the preset's."""
        stages = with_needs(config.stages(), {stage}, config)
        source = self.preset if len(stages) > 1 else None
        result = train(config, self.folder / name, stages=tuple(stages), source=source)
        of_stage = config.stages()[stage].label
        found = next(row for row in self.rows_of(result) if row["method"] == of_stage)
        return [found | {"method": label}]


def _td3_bc(run: Run, label: str) -> list[Row]:
    return run.trained(run.config, "td3_bc", TD3BCStage.name, label)


def _rebrac(run: Run, label: str) -> list[Row]:
    """What ReBRAC changes in TD3+BC, but for its penalty on the critics' target."""
    changed = replace(
        run.config.td3_bc, batch_size=1024, learning_rate=1e-3, layers=3, layer_norm=True
    )
    config = replace(run.config, td3_bc=changed)
    return run.trained(config, "rebrac", TD3BCStage.name, label)


def _dtql(run: Run, label: str) -> list[Row]:
    """The preset's policy, whose prior keeps its Jacobian."""
    config = replace(run.config, policy=replace(run.config.policy, through_prior=True))
    return run.trained(config, "dtql", PolicyStage.name, label)


def _selection(run: Run, label: str) -> list[Row]:
    protocol = Protocol(selection_episodes=_EPISODES_OF_SELECTION)
    (row,) = run_selection(protocol, run.data, run.config.seed, run.preset)
    return [row | {"method": label}]


def _paper(run: Run, label: str) -> list[Row]:
    """Its stages have as many steps each as take, in all, the time of the preset's run."""
    checkout = checked_checkout(run.paper_code)
    beta = paper_settings(str(run.data)).beta or Protocol.beta
    seed, episodes = run.config.seed, run.config.evaluation.episodes

    def of_steps(steps: int, episodes: int) -> Row:
        protocol = Protocol(
            beta=beta,
            critic_steps=steps,
            behavior_steps=steps,
            policy_steps=steps,
            episodes=episodes,
        )
        (row,) = run_paper(protocol, run.data, seed, checkout)
        return row | {"method": label, "steps": steps}

    second = of_steps(_TRIAL_STEPS, 1)["seconds"] / _TRIAL_STEPS
    return [of_steps(max(1, round(run.seconds / second)), episodes)]


BESIDE: dict[str, tuple[str, Callable[[Run, str], list[Row]]]] = {
    "td3_bc": (TD3BCStage.label, _td3_bc),
    "rebrac": ("TD3+BC with ReBRAC's critics", _rebrac),
    "dtql": ("through the prior (DTQL)", _dtql),
    "selection": ("selection among behavior samples", _selection),
    "paper": ("the paper's code", _paper),
}
LABELS = tuple(label for label, _ in BESIDE.values())


def rows_beside(run: Run, names: tuple[str, ...], *, finished_only: bool = False) -> list[Row]:
    """Returns the rows of methods by name, those that are finished or all.

    Raises:
        ArgumentError: the paper's code is asked for, and not given.
    """
    found: list[Row] = []
    for name in names:
        label, rows = BESIDE[name]
        kept = run.folder / f"{name}.json"
        if kept.exists() or not finished_only:
            found += kept_rows(kept, lambda rows=rows, label=label: rows(run, label))
    return found
