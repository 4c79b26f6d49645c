"""The checks of a run that exists, for people without a simulator."""

from pathlib import Path

from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.configuration import StageName
from scoreregs_offline_rl.runs.pipeline import new_behavior, new_critic, scale
from scoreregs_offline_rl.runs.run_directory import AGENT_FOLDERS, check_data, read_config
from scoreregs_offline_rl.training.health import Finding, HealthChecks
from scoreregs_offline_rl.training.stage_files import is_finished, load_stage

__all__ = ["diagnose"]


def diagnose(run_dir: str | Path, data: Transitions | None = None) -> dict[StageName, Finding]:
    """Check what the stages of a run left: critic, behavior model and policy, as far as finished.

    Args:
        run_dir: The run's directory.
        data: What it was trained on; None: it is loaded again.

    Returns:
        The findings, by the stage's name.

    Raises:
        RunError: No stage is finished, or the data is other than that of the run.
        DataError: The data cannot be loaded.
    """
    run_dir = Path(run_dir)
    config = read_config(run_dir)
    data = load_data(config.data, config.loading) if data is None else data
    check_data(run_dir, data)
    scaled = scale(data, config)
    checks = HealthChecks(scaled.transitions, config)
    critic, behavior = new_critic(config, scaled.sizes), new_behavior(config, scaled.sizes)
    findings: dict[StageName, Finding] = {}
    if is_finished(run_dir / "critic"):
        load_stage(critic, run_dir / "critic")
        findings["critic"] = checks.critic(critic.critic)
    if is_finished(run_dir / "behavior"):
        load_stage(behavior, run_dir / "behavior")
        findings["behavior"] = checks.behavior(behavior.network)
    if is_finished(run_dir / "policy"):
        policy = TrainedPolicy.load(run_dir / AGENT_FOLDERS["policy"]).policy
        findings["policy"] = checks.policy(policy, behavior.network)
    if not findings:
        raise RunError(
            f"got {run_dir}, where no stage but the baseline is finished: train a stage first"
        )
    return findings
