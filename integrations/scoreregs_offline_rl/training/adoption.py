"""Finished weights in place of training: another run's, or those of the paper's code."""

from pathlib import Path

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.configuration import TrainConfig, differences
from scoreregs_offline_rl.runs.paper_weights import load_paper_behavior, load_paper_critic
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.training.stage_files import StageReport, is_finished, load_stage

__all__ = ["adopt"]

# What makes the inputs and targets of another run's networks the same as ours.
_SCALING = ("normalize_observations", "rewards", "action_low", "action_high")


def adopt(
    stage: CriticStage | BehaviorStage, weights: str, config: TrainConfig, run_dir: Path
) -> StageReport:
    """Load finished weights into a stage.

    Args:
        stage: Of the configuration's sizes.
        weights: Directory of another run, or a checkpoint file of the paper's code.
        config: Of this run, resolved.
        run_dir: This run's directory, which holds the hash of its data.

    Returns:
        A report of no steps that names the source.

    Raises:
        RunError: There are no such weights, they are of other sizes, or belong to data that was
            scaled in another way.
    """
    source = Path(weights).expanduser()
    if source.is_dir():
        _adopt_run(stage, source, config, run_dir)
    else:
        _adopt_paper(stage, source, config)
    return StageReport(0, 0.0, 0.0, {}, source=weights)


def _adopt_run(
    stage: CriticStage | BehaviorStage, source: Path, config: TrainConfig, run_dir: Path
) -> None:
    if not is_finished(source / stage.name):
        raise RunError(
            f"got the weights {source}, a directory without a finished {stage.name}: finish that "
            "run's stage, or name another directory"
        )
    before, after = load_json(source / "config.json"), vars(config)
    names = [n for n in _SCALING if n in before]
    theirs = {name: _plain(before[name]) for name in names}
    ours = {name: _plain(after[name]) for name in names}
    hashes = ({"data": load_json(folder / "data.json")["sha256"]} for folder in (source, run_dir))
    their_data, our_data = hashes
    changes = differences(theirs | their_data, ours | our_data)
    if changes:
        raise RunError(
            f"got the weights of a run on other inputs, {source} ({'; '.join(changes)}): give this "
            "run the same data and scaling"
        )
    load_stage(stage, source / stage.name)


def _adopt_paper(stage: CriticStage | BehaviorStage, source: Path, config: TrainConfig) -> None:
    if config.normalize_observations:
        raise RunError(
            f"got {source}, weights for observations as they are, and normalize_observations: "
            "take --preset paper-exact, or --no-normalize-observations"
        )
    if isinstance(stage, CriticStage):
        ours, theirs = stage.critic, load_paper_critic(source)
    else:
        ours, theirs = stage.network, load_paper_behavior(source)
    try:
        ours.load_state_dict(theirs.state_dict())
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise RunError(
            f"got {stage.name} weights of another size in {source} ({first}): give data of the "
            "task that they were trained on, and their sizes"
        ) from error


def _plain(value: object) -> object:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
