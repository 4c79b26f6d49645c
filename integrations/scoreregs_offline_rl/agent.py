"""The finished policy, which leaves the training code behind."""

from pathlib import Path
from typing import TypeVar, final

import numpy as np
import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json, save_tensors
from scoreregs_offline_rl.networks import DiracPolicy
from scoreregs_offline_rl.scaling import ActionScaling, ObservationScaling

__all__ = ["TrainedPolicy"]

Array = TypeVar("Array", np.ndarray, Tensor)


@final
class TrainedPolicy:
    """A policy with its observation statistics and action bounds.

    Args:
        policy: Maps scaled observations to actions in [-1, 1].
        observation_scaling: Of the data that the policy was trained on.
        action_scaling: The environment's bounds.
        environment: Gymnasium id that the policy acts in, if known.

    Example:
        >>> scaling = ActionScaling(torch.tensor([-2.0]), torch.tensor([2.0]))
        >>> agent = TrainedPolicy(DiracPolicy(3, 1), ObservationScaling.identity(3), scaling)
        >>> agent(np.zeros((5, 3))).shape, agent(torch.zeros(3)).shape
        ((5, 1), torch.Size([1]))
    """

    def __init__(
        self,
        policy: DiracPolicy,
        observation_scaling: ObservationScaling,
        action_scaling: ActionScaling,
        environment: str | None = None,
    ) -> None:
        self.policy = policy
        self.environment = environment
        device = next(policy.parameters()).device
        self.observation_scaling = observation_scaling.to(device)
        self.action_scaling = action_scaling.to(device)

    @torch.no_grad()
    def __call__(self, observations: Array) -> Array:
        """Actions in the environment's units, of the observations' kind.

        Args:
            observations: A NumPy array or tensor, one observation (o,) or a batch (batch, o).

        Returns:
            Actions (a,) or (batch, a), float32, within the bounds.

        Raises:
            ArgumentError: An observation has another size.
        """
        mean, actions = self.observation_scaling.mean, self.action_scaling
        inputs = torch.as_tensor(observations, dtype=mean.dtype, device=mean.device)
        if inputs.ndim not in (1, 2) or inputs.shape[-1:] != mean.shape:
            raise ArgumentError(
                f"got observations of shape {tuple(inputs.shape)}, expected ({len(mean)},) or "
                f"(batch, {len(mean)}): give unscaled observations of the policy's environment"
            )
        outputs = actions.denormalize(self.policy(self.observation_scaling(inputs)))
        outputs = outputs.clamp(actions.low, actions.high)
        if isinstance(observations, Tensor):
            return outputs.to(observations.device)
        return outputs.cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write `policy.safetensors`, and `policy.json` with the sizes; nothing else is needed."""
        layers = [layer for layer in self.policy.net if isinstance(layer, torch.nn.Linear)]
        tensors = {f"policy.{name}": t for name, t in self.policy.state_dict().items()}
        tensors |= {
            "observation.mean": self.observation_scaling.mean,
            "observation.std": self.observation_scaling.std,
            "action.low": self.action_scaling.low,
            "action.high": self.action_scaling.high,
        }
        save_tensors(folder / "policy.safetensors", tensors)
        description = {
            "observation_size": layers[0].in_features,
            "action_size": layers[-1].out_features,
            "layers": len(layers) - 1,
            "width": layers[0].out_features,
            "environment": self.environment,
        }
        save_json(folder / "policy.json", description)

    @classmethod
    def load(cls, folder: Path) -> "TrainedPolicy":
        """Read what `save` wrote, onto the CPU.

        Raises:
            RunError: A file is missing, or the two do not belong together.
        """
        description = load_json(folder / "policy.json")
        tensors = load_tensors(folder / "policy.safetensors")
        weights = {n.removeprefix("policy."): t for n, t in tensors.items() if "policy." in n}
        try:
            environment = description.pop("environment")
            policy = DiracPolicy(**description)
            policy.load_state_dict(weights)
            observation = ObservationScaling(
                tensors["observation.mean"], tensors["observation.std"]
            )
            action = ActionScaling(tensors["action.low"], tensors["action.high"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise RunError(f"got a folder without a whole policy, {folder}: {error}") from error
        return cls(policy, observation, action, environment)
