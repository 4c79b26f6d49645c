"""Where a finished policy comes from: what its files and its model card say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import check_settings
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.stages.registry import StageRows, label_of, stages_of
from scoreregs_offline_rl.tasks import data_label

__all__ = ["TrainingRecord"]


@named_calls
@dataclass(frozen=True)
class TrainingRecord:
    """How a policy was trained and what it reached.

    Attributes:
        method: what trained it.
        data: the name of the data set, without folder and suffix.
        seed: the seed of weights, batches and noise.
        beta: the temperature of Eq. 15; None for a method without one.
        command: how the run was started, if known.
        evaluation: its episodes; None for a task without a simulator.
        data_return: the mean return of the data's own complete trajectories.
        data_score: their normalised score, where the task has reference returns.
        versions: the packages that trained and evaluated it.
    """

    method: str
    data: str
    seed: int
    beta: float | None
    command: str | None
    evaluation: EvaluationResult | None
    data_return: float
    data_score: float | None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_settings(self)

    @classmethod
    def from_result(cls, result: dict[str, Any], stage: str) -> TrainingRecord:
        """Returns the record of a stage's policy out of a run's `result.json`.

        Raises:
            RunError: where the result is that of no finished run.
        """
        kind = stages_of(StageRows).get(stage)
        try:
            return cls(
                method=label_of(stage, result.get("labels")),
                data=data_label(result["data"]),
                seed=result["seed"],
                beta=result["beta"] if kind is None or kind.follows_beta else None,
                command=result["command"],
                evaluation=_evaluation(result[stage]),
                data_return=result["data_return"],
                data_score=result["data_score"],
                versions=result["versions"],
            )
        except ArgumentError as error:
            raise RunError(f"got no result of a finished run: {error}") from error
        except (KeyError, TypeError) as error:
            raise RunError(
                f"got a result without its {error}, expected that of a finished run: train it again"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as dictionaries that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TrainingRecord:
        """Returns the record out of what `to_dict` gave.

        Raises:
            ArgumentError: where it is something else.
        """
        try:
            return cls(**{**content, "evaluation": _evaluation(content["evaluation"])})
        except (KeyError, TypeError, ArgumentError) as error:
            raise ArgumentError(
                f"got something else than the record of a training ({error}): save the policy again"
            ) from error


def _evaluation(content: dict[str, Any] | None) -> EvaluationResult | None:
    return None if content is None else EvaluationResult.from_dict(content)
