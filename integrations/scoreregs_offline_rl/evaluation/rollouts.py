"""Evaluation of a policy in Gymnasium, one episode per sub-environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from sys import float_info
from typing import Any

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval, mean
from scoreregs_offline_rl.tasks import (
    environment_for,
    normalized_score,
    reference_returns,
    scored_by_success,
)

__all__ = [
    "MOST",
    "TOGETHER",
    "EvaluationResult",
    "Policy",
    "checked_actions",
    "data_score",
    "evaluate",
    "evaluate_members",
]

Policy = Callable[[np.ndarray], np.ndarray]
"""From observations (n, o) to actions (n, a) in the environment's units."""
TOGETHER, MOST = 32, 1024
"""Episodes of one policy that are stepped together, and of several policies at most."""


@named_calls
@dataclass(frozen=True)
class EvaluationResult:
    """Episodes of one policy in one environment.

    Attributes:
        environment: the Gymnasium id.
        returns: the undiscounted return of each episode.
        lengths: the steps of each episode.
        mean: the mean return.
        standard_error: of the mean; None for a single episode.
        normalized_score: D4RL's score of the mean; None where the task has no reference returns.
        interval: the percentile bootstrap interval of the mean, 95 %; None for a single episode.
        successes: whether each episode succeeded, where that is the task's score.
    """

    environment: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    mean: float
    standard_error: float | None
    normalized_score: float | None
    interval: tuple[float, float] | None = None
    successes: tuple[bool, ...] | None = None

    @classmethod
    @named_calls
    def from_returns(
        cls,
        environment: str,
        returns: Sequence[float],
        lengths: Sequence[int],
        successes: Sequence[bool] | None = None,
    ) -> EvaluationResult:
        """Returns the result of episodes, at least one, with their statistics.

        Example:
            >>> result = EvaluationResult.from_returns("Pendulum-v1", [-200.0, -300.0], [200, 200])
            >>> result.mean, result.standard_error, result.interval
            (-250.0, 50.0, (-300.0, -200.0))
        """
        average, several = float(np.mean(returns)), len(returns) > 1
        score = None
        if successes is not None:
            score = 100 * float(np.mean(successes))
        elif reference_returns(environment) is not None:
            score = normalized_score(average, environment)
        interval = bootstrap_interval([returns], mean) if several else None
        return cls(
            environment=environment,
            returns=tuple(returns),
            lengths=tuple(lengths),
            mean=average,
            standard_error=float(np.std(returns, ddof=1) / len(returns) ** 0.5)
            if several
            else None,
            normalized_score=score,
            interval=(interval.low, interval.high) if interval else None,
            successes=None if successes is None else tuple(map(bool, successes)),
        )

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> EvaluationResult:
        """Returns the result out of its fields as JSON holds them.

        Raises:
            ArgumentError: where they are no episodes.
            KeyError: where a field is missing.
        """
        environment, successes = content["environment"], content.get("successes")
        returns, lengths = list(content["returns"]), list(content["lengths"])
        won = returns if successes is None else list(successes)
        numbers = all(_is_finite(number) for number in returns + lengths)
        flags = successes is None or all(isinstance(flag, bool) for flag in won)
        same = 0 < len(returns) == len(lengths) == len(won)
        if not (isinstance(environment, str) and numbers and flags and same):
            raise ArgumentError(
                f"got {len(returns)} returns and {len(lengths)} lengths of {environment!r}, "
                "expected a name and as many finite numbers of both, at least one, and as many "
                "successes where there are any: evaluate the policy again"
            )
        return cls.from_returns(environment, returns, lengths, successes)

    @property
    def normalized_interval(self) -> tuple[float, float] | None:
        """Returns the interval as normalised scores; None without one or without references."""
        if self.interval is None or self.normalized_score is None:
            return None
        if self.successes is not None:
            found = bootstrap_interval([[float(won) for won in self.successes]], mean)
            return 100 * found.low, 100 * found.high
        low, high = (normalized_score(end, self.environment) for end in self.interval)
        return low, high


@named_calls
def evaluate(
    policy: Policy,
    environment: str,
    episodes: int = 20,
    seed: int = 0,
    *,
    parallel: int = TOGETHER,
) -> EvaluationResult:
    """Returns how a policy did in a number of whole episodes.

    Episode i is the first one of a sub-environment of its own, seeded with seed + i; what a
    sub-environment does after its episode's end is not counted, so short episodes are not
    over-represented, and the result does not depend on `parallel`.

    Args:
        policy: called once per step on the batch of observations (n, o), gives actions (n, a).
            It must have no state between calls.
        environment: a Gymnasium id, a data set's name (`hopper-medium-expert-v2`), or more as
            `RecordedEnvironment` writes it.
        episodes: how many, at least 1.
        seed: of the first episode, at least 0.
        parallel: sub-environments stepped together, at least 1.

    Raises:
        ArgumentError: where the environment is unknown or cannot be made, has no time limit or has
            no flat observations and bounded continuous actions; a count is below its range; the
            policy gives another shape, values that are not finite or actions out of bounds.
        MissingDependencyError: where Gymnasium, or for D4RL's AntMaze Gymnasium-Robotics, is not
            installed.

    Example:
        >>> result = evaluate(lambda s: np.zeros((len(s), 1)), "Pendulum-v1", episodes=2)
        >>> result.lengths, result.mean < -500
        ((200, 200), True)
    """
    return evaluate_members(policy, 1, environment, episodes, seed, parallel=parallel)[0]


def evaluate_members(
    policies: Policy,
    members: int,
    environment: str,
    episodes: int = 20,
    seed: int = 0,
    *,
    parallel: int = MOST,
) -> list[EvaluationResult]:
    """Returns how several policies did in one pass, each as `evaluate` would run it.

    Args:
        policies: called once per step on observations (members * n, o), n of each member in turn.
        members: how many policies.
        environment: as for `evaluate`.
        episodes: of each policy.
        seed: of the first episode of each.
        parallel: sub-environments stepped together, if that is at least one of each member.

    Raises:
        ArgumentError: as for `evaluate`.
        MissingDependencyError: as for `evaluate`.
    """
    for name, value, minimum in (
        ("members", members, 1),
        ("episodes", episodes, 1),
        ("parallel", parallel, 1),
        ("seed", seed, 0),
    ):
        if value < minimum:
            raise ArgumentError(f"got {name}={value}, expected at least {minimum}")
    environment = environment_for(environment)
    found = [_Episodes([], [], []) for _ in range(members)]
    share = max(1, parallel // members)
    for first in range(0, episodes, share):
        seeds = list(range(seed + first, seed + min(first + share, episodes)))
        chunk = _run_chunk(policies, environment, seeds * members)
        for member, start in enumerate(range(0, len(chunk.returns), len(seeds))):
            found[member].add(chunk, slice(start, start + len(seeds)))
    by_success = scored_by_success(environment)
    return [
        EvaluationResult.from_returns(
            environment, own.returns, own.lengths, own.successes if by_success else None
        )
        for own in found
    ]


def data_score(data: Transitions, environment: str | None = None) -> float:
    """Returns the normalised score of the mean return of a data set's complete trajectories.

    Where success is the score, it is the share of them that has a terminal row, the goal.

    Args:
        data: the transitions.
        environment: a Gymnasium id or data set's name; None: the data's own.

    Raises:
        ArgumentError: where the task is not known, or has no reference returns.
    """
    name = environment or data.environment
    if name is None:
        raise ArgumentError(
            f"got no environment for {data.source}, which names none: give its Gymnasium id"
        )
    if scored_by_success(name):
        return 100 * float(data.trajectory_terminal.double().mean())
    return normalized_score(float(data.returns().double().mean()), name)


@dataclass(frozen=True)
class _Episodes:
    """Return, length and success of episodes."""

    returns: list[float]
    lengths: list[int]
    successes: list[bool]

    def add(self, other: _Episodes, which: slice) -> None:
        self.returns.extend(other.returns[which])
        self.lengths.extend(other.lengths[which])
        self.successes.extend(other.successes[which])


def _is_finite(number: Any) -> bool:
    whole_or_real = isinstance(number, (int, float)) and not isinstance(number, bool)
    # A whole number may be larger than any that is not.
    return whole_or_real and abs(number) <= float_info.max


def _ended(environment: Any, observation: np.ndarray) -> Any:
    """Closes an environment whose episode has ended; what takes its place costs no time."""
    from gymnasium import Env

    class Ended(Env):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
            return observation, {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return observation, 0.0, False, False, {}

    environment.close()
    return Ended()


def _run_chunk(policy: Policy, environment: str, seeds: list[int]) -> _Episodes:
    from gymnasium.vector import SyncVectorEnv

    by_success = scored_by_success(environment)
    vector = SyncVectorEnv([partial(make_environment, environment)] * len(seeds))
    try:
        space: Any = vector.single_action_space
        observations, _ = vector.reset(seed=list(seeds))
        returns = np.zeros(len(seeds))
        lengths = np.zeros(len(seeds), dtype=int)
        running = np.ones(len(seeds), dtype=bool)
        won = np.zeros(len(seeds), dtype=bool)
        while running.any():
            actions = checked_actions(policy(observations), space.low, space.high, len(seeds))
            observations, rewards, terminated, truncated, infos = vector.step(actions)
            returns += np.where(running, rewards, 0.0)
            lengths += running
            if by_success:
                won |= running & np.asarray(infos["success"], dtype=bool)
            ended = running & (terminated | truncated)
            running &= ~ended
            for place in np.flatnonzero(ended):
                vector.envs[place] = _ended(vector.envs[place], observations[place])
    finally:
        vector.close()
    return _Episodes(returns.tolist(), lengths.tolist(), won.tolist())


def checked_actions(
    actions: np.ndarray, low: np.ndarray, high: np.ndarray, rows: int
) -> np.ndarray:
    """Returns actions within the bounds; float32 rounding is clipped.

    Args:
        actions: what the policy gave, (rows, a).
        low: the lower bounds, (a,).
        high: the upper bounds, (a,).
        rows: how many observations it was given.

    Raises:
        ArgumentError: where the actions have another shape, are not finite or are out of bounds.
    """
    actions = np.asarray(actions)
    if actions.shape != (rows, *low.shape):
        raise ArgumentError(
            f"got actions of shape {actions.shape} from the policy, expected {(rows, *low.shape)}"
        )
    # A NaN fails this comparison, too.
    allowed = np.abs(actions - (low + high) / 2) <= (high - low) / 2 * (1 + 1e-4)
    if not allowed.all():
        row = int(np.argmin(allowed.all(axis=1)))
        raise ArgumentError(
            f"got action {actions[row].tolist()} from the policy, expected {low.tolist()} to "
            f"{high.tolist()}: give actions in the environment's units"
        )
    return np.clip(actions, low, high).astype(low.dtype)
