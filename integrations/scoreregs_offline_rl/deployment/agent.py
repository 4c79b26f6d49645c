"""The finished policy, which leaves the training code behind."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from torch import Tensor, nn

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.card import model_card
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json, save_tensors
from scoreregs_offline_rl.stages.networks import DiracPolicy

__all__ = ["TrainedPolicy"]

Array = TypeVar("Array", np.ndarray, Tensor)
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@final
class TrainedPolicy(nn.Module, ModelHubMixin):
    """A policy with its observation statistics and action bounds.

    A module whose parameters are frozen and whose statistics are buffers, so `.to(device)`,
    `torch.compile` and `torch.export` take it as it is; `save_pretrained`, `from_pretrained` and
    `push_to_hub` are those of the Hugging Face Hub.

    Args:
        policy: Maps scaled observations to actions in [-1, 1]; copied.
        observation_scaling: Of the data that the policy was trained on.
        action_scaling: The environment's bounds.
        environment: Gymnasium id that the policy acts in, if known.
        record: Where the policy comes from, for its model card, if known.

    Example:
        >>> scaling = ActionScaling(torch.tensor([-2.0]), torch.tensor([2.0]))
        >>> agent = TrainedPolicy(DiracPolicy(3, 1), ObservationScaling.identity(3), scaling)
        >>> agent(np.zeros((5, 3))).shape, agent(torch.zeros(3)).shape
        ((5, 1), torch.Size([1]))
    """

    observation_mean: Tensor
    observation_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(
        self,
        policy: DiracPolicy,
        observation_scaling: ObservationScaling,
        action_scaling: ActionScaling,
        environment: str | None = None,
        record: TrainingRecord | None = None,
    ) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.environment = environment
        self.record = record
        device = next(policy.parameters()).device
        for name, buffer in {
            "observation_mean": observation_scaling.mean,
            "observation_std": observation_scaling.std,
            "action_low": action_scaling.low,
            "action_high": action_scaling.high,
        }.items():
            self.register_buffer(name, buffer.to(device, copy=True))
        self.eval()

    if TYPE_CHECKING:

        def __call__(self, observations: Array) -> Array:
            """See `forward`."""
            ...

    def forward(self, observations: Array) -> Array:
        """Actions in the environment's units, of the observations' kind.

        Args:
            observations: A NumPy array or tensor, one observation (o,) or a batch (batch, o).

        Returns:
            Actions (a,) or (batch, a), of the policy's dtype, within the bounds.

        Raises:
            ArgumentError: An observation has another size.
        """
        mean, low, high = self.observation_mean, self.action_low, self.action_high
        inputs = torch.as_tensor(observations, dtype=mean.dtype, device=mean.device)
        if inputs.ndim not in (1, 2) or inputs.shape[-1:] != mean.shape:
            raise ArgumentError(
                f"got observations of shape {tuple(inputs.shape)}, expected ({len(mean)},) or "
                f"(batch, {len(mean)}): give unscaled observations of the policy's environment"
            )
        outputs = self.policy((inputs - mean) / self.observation_std)
        # Rounding may leave the bounds by one unit in the last place.
        outputs = (low + (outputs + 1) * (high - low) / 2).clamp(low, high)
        if isinstance(observations, Tensor):
            return outputs.to(observations.device)
        return outputs.numpy(force=True)

    @property
    def observation_scaling(self) -> ObservationScaling:
        """The statistics that observations are scaled by."""
        return ObservationScaling(self.observation_mean, self.observation_std)

    @property
    def action_scaling(self) -> ActionScaling:
        """The environment's bounds."""
        return ActionScaling(self.action_low, self.action_high)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, and `config.json` with the sizes; nothing else is needed."""
        layers = [layer for layer in self.policy.net if isinstance(layer, nn.Linear)]
        description = {
            "observation_size": layers[0].in_features,
            "action_size": layers[-1].out_features,
            "layers": len(layers) - 1,
            "width": layers[0].out_features,
            "environment": self.environment,
            "record": None if self.record is None else self.record.to_dict(),
        }
        save_tensors(folder / _WEIGHTS, self.state_dict())
        save_json(folder / _CONFIG, description)

    @classmethod
    def load(cls, folder: Path) -> "TrainedPolicy":
        """Read what `save` wrote, onto the CPU.

        Raises:
            RunError: A file is missing, or the two do not belong together.
        """
        description = load_json(folder / _CONFIG)
        tensors = load_tensors(folder / _WEIGHTS)
        try:
            environment, record = description.pop("environment"), description.pop("record")
            loaded = cls(
                DiracPolicy(**description),
                ObservationScaling(tensors["observation_mean"], tensors["observation_std"]),
                ActionScaling(tensors["action_low"], tensors["action_high"]),
                environment,
                None if record is None else TrainingRecord.from_dict(record),
            )
            loaded.load_state_dict(tensors)
        except (AttributeError, KeyError, TypeError, RuntimeError) as error:
            raise RunError(f"got a folder without a whole policy, {folder}: {error}") from error
        return loaded

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "TrainedPolicy":
        if Path(model_id).is_dir():
            return cls.load(Path(model_id))
        names = ("revision", "cache_dir", "force_download", "token", "local_files_only")
        download = {name: options[name] for name in names}
        return cls.load(
            Path(snapshot_download(model_id, allow_patterns=[_CONFIG, _WEIGHTS], **download))
        )

    def generate_model_card(self, *, license: str | None = None) -> ModelCard:  # noqa: A002
        """The model card that `save_pretrained` writes where there is none.

        Args:
            license: Of the weights, as the Hub names it; `save_pretrained` takes it through
                `model_card_kwargs`.
        """
        sizes = len(self.observation_mean), len(self.action_low)
        return model_card(self.environment, sizes, self.record, license)
