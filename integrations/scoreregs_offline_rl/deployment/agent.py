"""The finished policy, which leaves the training code behind."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.interface import MachineInterface
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.card import model_card
from scoreregs_offline_rl.deployment.folder import FILES, PolicyParts, read_folder, write_folder
from scoreregs_offline_rl.deployment.hub import download, one_line_errors
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.mean_policy import MeanPolicy
from scoreregs_offline_rl.stages.networks import DiracPolicy

__all__ = ["TrainedPolicy"]

Array = TypeVar("Array", np.ndarray, Tensor)


@named_calls
@final
class TrainedPolicy(nn.Module, ModelHubMixin):
    r"""A policy with its observation statistics and action bounds.

    $$ a = \mathrm{low} + \tfrac12 (\pi(\tfrac{s - \mathrm{mean}}{\mathrm{std}}) + 1)
       (\mathrm{high} - \mathrm{low}) $$

    A module whose parameters are frozen and whose statistics are buffers, so `.to(device)`,
    `torch.compile` and `torch.export` take it as it is; `save_pretrained`, `from_pretrained` and
    `push_to_hub` are those of the Hugging Face Hub.

    Args:
        policy: maps scaled observations to actions in [-1, 1]; copied.
        observation_scaling: the statistics of the data that the policy was trained on.
        action_scaling: the environment's bounds.
        environment: the Gymnasium id that the policy acts in, if known.
        record: where the policy comes from, for its model card, if known.
        interface: what its numbers are on its machine, if known.

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
        policy: DiracPolicy | MeanPolicy,
        observation_scaling: ObservationScaling,
        action_scaling: ActionScaling,
        environment: str | None = None,
        record: TrainingRecord | None = None,
        interface: MachineInterface | None = None,
    ) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.environment = environment
        self.record = record
        self.interface = interface
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

        @override
        def __call__(self, observations: Array) -> Array:
            """See `forward`."""
            ...

    @override
    def forward(self, observations: Array) -> Array:
        """Returns actions in the environment's units, of the observations' kind.

        Args:
            observations: a NumPy array or tensor, one observation (o,) or a batch (batch, o), in
                the environment's units.

        Returns:
            actions (a,) or (batch, a), of the policy's dtype, within the bounds.

        Raises:
            ArgumentError: where an observation has another size.
        """
        mean, low, high = self.observation_mean, self.action_low, self.action_high
        inputs = torch.as_tensor(observations, dtype=mean.dtype, device=mean.device)
        if inputs.ndim not in (1, 2) or inputs.shape[-1:] != mean.shape:
            raise ArgumentError(
                f"got observations of shape {tuple(inputs.shape)}, expected ({len(mean)},) or "
                f"(batch, {len(mean)}): give unscaled observations of the policy's environment"
            )
        # A mean of float64 is there for numbers that float32 cannot hold: they are centred first.
        scaled = ((inputs - mean) / self.observation_std).to(self.observation_std.dtype)
        outputs = self.policy(scaled)
        # Rounding may leave the bounds by one unit in the last place.
        outputs = (low + (outputs + 1) * (high - low) / 2).clamp(low, high)
        if isinstance(observations, Tensor):
            return outputs.to(observations.device)
        return outputs.numpy(force=True)

    @property
    def observation_scaling(self) -> ObservationScaling:
        """Returns the statistics that observations are scaled by."""
        return ObservationScaling(self.observation_mean, self.observation_std)

    @property
    def action_scaling(self) -> ActionScaling:
        """Returns the environment's bounds."""
        return ActionScaling(self.action_low, self.action_high)

    @named_calls
    def save(self, folder: Path) -> None:
        """Writes `model.safetensors`, and `config.json` with the sizes; nothing else is needed.

        Raises:
            ArgumentError: where the policy is not of float32.
            RunError: where a weight is not finite.
        """
        parts = PolicyParts(
            self.policy,
            self.observation_scaling,
            self.action_scaling,
            self.environment,
            self.record,
            self.interface,
        )
        write_folder(parts, self.state_dict(), folder)

    @classmethod
    @named_calls
    def load(cls, folder: Path) -> "TrainedPolicy":
        """Returns what `save` wrote, on the CPU.

        Raises:
            RunError: where a file is missing or damaged, the two do not belong together, or what
                they hold is no policy.
        """
        loaded = cls(**vars(read_folder(folder)))
        scaling = loaded.observation_scaling
        usual = scaling.mean + torch.tensor([-10.0, 0.0, 10.0])[:, None] * scaling.std
        if not bool(loaded(usual).isfinite().all()):
            raise RunError(
                f"got a folder without a whole policy, {folder}: its weights or statistics are so "
                "large that actions are not finite: save the policy again"
            )
        return loaded

    @classmethod
    @override
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> "TrainedPolicy":
        """Returns the policy of a folder or of a repository of the Hub, on the CPU.

        Args:
            pretrained_model_name_or_path: the folder, or `user/name`.
            force_download: whether to download what the cache has.
            token: of the Hub, for private repositories.
            cache_dir: where the Hub's files are kept.
            local_files_only: whether to do with what the cache has.
            revision: the branch, tag or commit.
            **model_kwargs: none are known.

        Raises:
            ArgumentError: where another argument is given.
            RunError: where the repository cannot be had, see also `load`.
        """
        if model_kwargs:
            raise ArgumentError(
                f"got {', '.join(model_kwargs)}, expected nothing beyond the Hub's options: a "
                "policy's settings are in its folder"
            )
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            return cls.load(folder)
        options = {
            "revision": revision,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "token": token,
            "local_files_only": local_files_only,
        }
        return cls.load(download(str(pretrained_model_name_or_path), FILES, **options))

    @override
    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Returns the commit that uploaded the policy with its model card.

        Args:
            repo_id: the repository, `user/name`, made if need be.
            **options: of `huggingface_hub.ModelHubMixin.push_to_hub`.

        Raises:
            RunError: where the Hub cannot be reached or does not let you in.
        """
        with one_line_errors(f"cannot push the policy to {repo_id!r}"):
            return super().push_to_hub(repo_id, **options)

    @override
    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @override
    def generate_model_card(self, *, license: str | None = None) -> ModelCard:
        """Returns the model card that `save_pretrained` writes where there is none.

        Args:
            license: the licence of the weights, as the Hub names it; `save_pretrained` takes it
                through `model_card_kwargs`.
        """
        sizes = len(self.observation_mean), len(self.action_low)
        return model_card(self.environment, sizes, self.record, license)
