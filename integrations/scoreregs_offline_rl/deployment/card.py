"""The model card of a policy, `README.md` of its folder on the Hugging Face Hub."""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult

__all__ = ["model_card"]

_PAPER = "https://arxiv.org/abs/2310.07297"
_TAGS = ["offline-reinforcement-learning", "reinforcement-learning", "srpo"]


def model_card(
    environment: str | None,
    sizes: tuple[int, int],
    record: TrainingRecord | None,
    license_: str | None = None,
) -> ModelCard:
    """Returns the card with task, data, score, command and licence, and how to use the policy.

    Args:
        environment: the Gymnasium id that the policy acts in, if known.
        sizes: the numbers of an observation and of an action.
        record: where the policy comes from, if known.
        license_: the licence of the weights, as the Hub names it, if chosen.

    Example:
        >>> "task: not stated" in model_card(None, (3, 1), None).text
        True
    """
    method = record.method if record else "Deterministic"
    evaluation = record.evaluation if record else None
    name = f"{method} policy for {environment or 'an unnamed environment'}"
    data = ModelCardData(
        library_name="scoreregs",
        pipeline_tag="reinforcement-learning",
        tags=list(_TAGS),
        license=license_,
        model_name=name if evaluation else None,
        eval_results=_eval_results(evaluation) if evaluation else None,
    )
    task = (
        f"{environment or 'not stated'}, observations of {sizes[0]} numbers, actions of {sizes[1]}"
    )
    sections = [
        f"# {name}",
        f"- task: {task}\n- data: {record.data if record else 'not stated'}\n"
        f"- licence of the weights: {license_ or 'not chosen by whoever wrote this folder'}",
        f"Trained from recorded data alone by `scoreregs`, an implementation of [SRPO]({_PAPER}). "
        "Observation statistics and action bounds are part of the policy."
        if record
        else "Observation statistics and action bounds are part of the policy.",
        _USE.format(*sizes),
    ]
    if record:
        sections += [_score_section(record), _training_section(record)]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")


_USE = """## Use

```python
from scoreregs_offline_rl import TrainedPolicy

policy = TrainedPolicy.from_pretrained("folder or user/name")
actions = policy(observations)  # NumPy or torch, (batch, {}) to (batch, {})
```"""


def _eval_results(evaluation: EvaluationResult) -> list[EvalResult]:
    metrics = {"mean_reward": evaluation.mean, "normalized_score": evaluation.normalized_score}
    return [
        EvalResult(
            task_type="reinforcement-learning",
            dataset_type=evaluation.environment,
            dataset_name=evaluation.environment,
            metric_type=metric,
            metric_value=round(value, 2),
        )
        for metric, value in metrics.items()
        if value is not None
    ]


def _score_section(record: TrainingRecord) -> str:
    evaluation = record.evaluation
    rows = [
        f"| the data's trajectories | {record.data_return:.1f} | {_number(record.data_score)} |"
    ]
    note = "The policy has not been run in a simulator."
    if evaluation:
        episodes = f"{len(evaluation.returns)} episodes of {evaluation.environment}"
        score = _number(evaluation.normalized_score)
        rows.insert(
            0,
            f"| this policy, {episodes} | {evaluation.mean:.1f}{_interval(evaluation.interval)} | "
            f"{score}{_interval(evaluation.normalized_interval)} |",
        )
        note = (
            "In brackets: 95 % bootstrap interval of the mean over episodes of this one training."
        )
    table = "| | return | normalised score |\n|---|---|---|\n" + "\n".join(rows)
    return f"## Score\n\n{table}\n\n{note}"


def _training_section(record: TrainingRecord) -> str:
    beta = "" if record.beta is None else f", beta {record.beta:g}"
    versions = ", ".join(f"{package} {version}" for package, version in record.versions.items())
    return (
        f"## Training\n\n{record.method}, seed {record.seed}{beta}. Versions: {versions}.\n\n"
        f"```bash\n{record.command or '# started from Python'}\n```"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.1f}, {interval[1]:.1f}]"
