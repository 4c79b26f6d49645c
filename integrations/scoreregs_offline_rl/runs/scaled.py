"""Data as the networks see it."""

from dataclasses import dataclass, replace

from torch import Tensor

from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling, RewardScaling
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.runs.configuration import TrainConfig

__all__ = ["ScaledData", "scale"]


@dataclass(frozen=True, eq=False)
class ScaledData:
    """Transitions as the networks see them, with the scalings that lead back.

    Attributes:
        transitions: scaled observations, actions in [-1, 1], scaled rewards.
        observations: the scaling of observations.
        actions: the scaling of actions.
    """

    transitions: Transitions
    observations: ObservationScaling
    actions: ActionScaling

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of observation and action dimensions."""
        return self.transitions.observations.shape[1], self.transitions.actions.shape[1]


def scale(data: Transitions, config: TrainConfig) -> ScaledData:
    """Returns transitions scaled as a resolved configuration says.

    Raises:
        DataError: actions lie beyond their bounds, or rewards have no range.
    """
    actions = ActionScaling(Tensor(config.action_low), Tensor(config.action_high))
    size = data.observations.shape[1]
    observations = (
        ObservationScaling.fit(data.observations, config.minimum_std)
        if config.normalize_observations
        else ObservationScaling.identity(size)
    )
    transitions = replace(
        data,
        observations=observations(data.observations),
        next_observations=observations(data.next_observations),
        actions=actions.normalize(data.actions, source=data.source, recorded_row=data.recorded_row),
        rewards=RewardScaling.fit(config.rewards or RewardScaling.usual(data), data)(data.rewards),
    )
    return ScaledData(transitions, observations, actions)
