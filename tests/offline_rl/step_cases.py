"""A step of every stage that there is: alone, stacked as in a sweep, and with what remembers."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from scoreregs_offline_rl import (
    STAGES,
    BehaviorConfig,
    CriticConfig,
    PolicyConfig,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.scaled import ScaledData
from scoreregs_offline_rl.stages.registry import with_needs
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.inputs import Inputs, Members
from scoreregs_offline_rl.training.stage_files import StageReport
from scoreregs_offline_rl.training.step import TrainingStep
from scoreregs_offline_rl.training.trainer import Trainer
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions

__all__ = [
    "CASES",
    "REMEMBERING",
    "STEPS",
    "WARM_STARTS",
    "WARM_STEPS",
    "Steps",
    "new_step",
    "state_of",
    "steps_of",
]

BATCH, STEPS = 8, 1000
GRID = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))
REMEMBERING: dict[str, dict[str, Any]] = {
    "policy with adaptive times": {
        "sampler": "adaptive",
        "baseline": "optimal_noise",
        "normalize": "l2",
    },
    "policy whose beta falls": {"beta_from": 30.0},
    "policy whose beta learns": {"prior_error_ratio": 1.2},
}
ALONE = [*STAGES, *REMEMBERING]
CASES = [*ALONE, *(f"stacked {name}" for name in ALONE)]
# Beside the others: their rows follow from numbers, which a fake device does not have.
WARM_STARTS = ["warm critic", "stacked warm critic"]
WARM_STEPS = 20
"""No multiple of the steps of a graph."""


class Steps:
    """In place of a trainer: keeps the step of each stage, and takes none."""

    def __init__(self, **accelerator: Any) -> None:
        launched = Accelerator(cpu=True, step_scheduler_with_optimizer=False, **accelerator)
        self._trainer = Trainer(launched, TrainerConfig(), seed=0)
        self._data: Any = None
        self._members: Members | None = None
        self.stages: list[Stage] = []
        self.newest: Any = None

    def run(
        self,
        stage: Stage,
        data: Transitions,
        *,
        batch_size: int,
        rows: Tensor | None = None,
        weights: Tensor | None = None,
        members: Members | None = None,
        **others: Any,
    ) -> StageReport:
        """Makes the step that `Trainer.run` takes again and again."""
        del others
        self._data, self._members = data, members
        self.stages.append(stage)
        self.newest = self._trainer.stepping(
            stage, data, batch_size=batch_size, rows=rows, weights=weights, members=members
        )
        return StageReport(0, 0.0, 0.0, {})

    def inputs(
        self, device: str, rows: Tensor | None = None, weights: Tensor | None = None
    ) -> Inputs:
        """Returns the newest step's inputs, of data on a device."""
        data, members = self._data, self._members
        values = {f.name: getattr(data, f.name) for f in fields(data)}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        placed = {n: torch.empty(v.shape, dtype=v.dtype, device=device) for n, v in tensors.items()}
        if members is not None and rows is not None:
            members = replace(members, rows=(rows,) * len(members.seeds))
        here = replace(data, **placed)
        return self._trainer._inputs(self.stages[-1], here, BATCH, rows, weights, members)


def new_step(name: str, **accelerator: Any) -> TrainingStep:
    """Returns the step of a case, as a run or a sweep of two seeds and two temperatures has it."""
    return steps_of(name, **accelerator).newest


def steps_of(name: str, **accelerator: Any) -> Steps:
    """Returns that step and those of the stages that it builds on."""
    alone, warm = name.removeprefix("stacked ").removeprefix("warm "), "warm " in name
    sizes: Any = {"batch_size": BATCH, "width": 16}
    start: Any = {"steps": STEPS, "warm_start": WARM_STEPS / STEPS} if warm else {}
    config = TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(**sizes, **start),
        behavior=BehaviorConfig(**sizes, blocks=1, held_out=0),
        policy=PolicyConfig(**sizes, steps=STEPS, **REMEMBERING.get(alone, {})),
    )
    stage = alone if alone in STAGES else "policy"
    own: Any = {stage: replace(getattr(config, stage), batch_size=BATCH)}
    data = ScaledData(
        make_transitions(),
        ObservationScaling.identity(OBSERVATION),
        ActionScaling(-torch.ones(ACTION), torch.ones(ACTION)),
    )
    steps: Any = Steps(**accelerator)
    # One temperature where each member is a loop of its own: recording is what takes time.
    several = GRID if alone in STAGES else replace(GRID, betas=GRID.betas[:1])
    grid = several if name.startswith("stacked ") else None
    config = replace(config, **own)
    pipeline = Pipeline(config, data, steps, RunDirectory(Path("none")), grid)
    pipeline.train(with_needs(config.stages(), {stage}, config))
    return steps


def state_of(step: TrainingStep) -> dict[str, Tensor]:
    """Returns copies of what the step has changed."""
    return {name: value.clone() for name, value in step.stage.state_dict().items()}
