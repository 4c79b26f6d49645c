"""What can be said of a run's policies where there is no environment."""

from pathlib import Path

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.offline import OfflineComparison, compare_offline
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.models import load_models
from scoreregs_offline_rl.runs.scaled import scale
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.former import current_result
from scoreregs_offline_rl.stages.probe import held_rows
from scoreregs_offline_rl.stages.registry import actors_of
from scoreregs_offline_rl.stages.stage import PriorStage

__all__ = ["lacks_evaluation", "offline_figures"]


@named_calls
def offline_figures(
    run_dir: str | Path,
    data: Transitions | None = None,
    kind: type[TrainConfig] = TrainConfig,
) -> OfflineComparison:
    """Returns distance to the data's actions, prior error and value of a run's policies.

    They are compared with the first of the run's policies that builds on neither critic nor prior,
    as cloning does; else with its first one. The rows are those that were kept out of the prior's
    training, where some were.

    Args:
        run_dir: the run's directory.
        data: what it was trained on; None: it is loaded again.
        kind: the class of the run's configuration.

    Raises:
        RunError: the run has no finished policy, value and prior, or the data is another.
        DataError: the data cannot be loaded.
    """
    models, directory = load_models(run_dir, kind), RunDirectory(run_dir, kind)
    config = models.config
    data = load_data(config.data, config.loading) if data is None else data
    directory.check_data(data)
    scaled = scale(data, config)
    source = config.stages().provider(PriorStage)
    held_out = source.held_out(getattr(config, source.name))
    policies = {
        name: stage.policy for name, stage in models.stages.items() if isinstance(stage, ActorStage)
    }
    if not policies:
        raise RunError(f"got {run_dir}, which holds no finished policy: train a policy there")
    plain = [name for name in policies if not models.stages[name].needs]
    return compare_offline(
        policies,
        scaled.transitions,
        models.prior,
        models.value.q,
        reference=next(iter([*plain, *policies])),
        rows=held_rows(len(data), held_out, config.seed)[1] if held_out else None,
        seed=config.seed,
    )


def lacks_evaluation(run_dir: str | Path, kind: type[TrainConfig] = TrainConfig) -> bool:
    """Returns whether a run is finished, and none of its policies was evaluated."""
    directory = RunDirectory(run_dir, kind)
    if not directory.result_file.exists():
        return False
    result = current_result(load_json(directory.result_file), directory.stages)
    names = {*actors_of(directory.stages), *result.get("labels", {})}
    return all(result.get(name) is None for name in names)
