"""Weights in the checkpoints that the paper's code writes and that were published with it.

Their networks see unscaled observations, and actions in [-1, 1]. That code saves the behavior model
and the critic; a policy is in the state of its whole model, where a user has saved that.
"""

import os
import pickle
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.environments.making import action_bounds
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import (
    BehaviorNetwork,
    DiracPolicy,
    EnsembleQ,
    ValueNetwork,
)
from scoreregs_offline_rl.tasks import environment_for

__all__ = [
    "behavior_from_paper",
    "load_paper_behavior",
    "load_paper_critic",
    "load_paper_policy",
    "policy_from_paper",
    "twin_q_from_paper",
]

T = TypeVar("T")
State = Mapping[str, Tensor]

# Their name of a module to ours; the blocks' `residual` layers never run there.
_BEHAVIOR = {
    "embed.0.W": "frequencies",
    "cond_model.": "embedding.",
    "main.fc.": "input.",
    "main.blocks.": "blocks.",
    "main.out_fc.": "output.",
    ".layer_norm.": ".norm.",
    ".fc1.": ".expand.",
    ".fc2.": ".contract.",
}
# What a checkpoint holds, by a prefix of its names, and what reads it.
_KINDS = {
    "diffusion_behavior.": "load_paper_behavior",
    "q0.": "load_paper_critic",
    "SRPO_policy.": "load_paper_policy",
}


def load_paper_behavior(path: str | os.PathLike[str]) -> BehaviorNetwork:
    """Returns the behavior network of a checkpoint (`diffusion_behavior.*`).

    Raises:
        RunError: the file is no such checkpoint.
    """
    prefix = "diffusion_behavior."
    return _convert(path, prefix, lambda state: behavior_from_paper(state, prefix))


def load_paper_critic(path: str | os.PathLike[str]) -> Critic:
    """Returns the critic of a checkpoint (`q0.*`, `q0_target.*`, `vf.*`).

    Raises:
        RunError: the file is no such checkpoint.
    """
    return _convert(path, "q0.", _critic_from_paper)


def load_paper_policy(path: str | os.PathLike[str], environment: str) -> TrainedPolicy:
    """Returns the policy in the state of the paper's whole model (`SRPO_policy.*`).

    Args:
        path: the file.
        environment: Gymnasium id, or a data set's name: its bounds are those of the actions.

    Raises:
        RunError: the file is no such checkpoint.
        ArgumentError: the environment is unknown, or has another number of actions.
    """
    prefix = "SRPO_policy."
    policy = _convert(path, prefix, lambda state: policy_from_paper(state, prefix))
    layers = [layer for layer in policy.net if isinstance(layer, nn.Linear)]
    observation_size, action_size = layers[0].in_features, layers[-1].out_features
    low, high = (torch.from_numpy(bound) for bound in action_bounds(environment))
    if len(low) != action_size:
        raise ArgumentError(
            f"got a policy of {action_size} actions, expected the {len(low)} of {environment}: "
            "name the environment that it was trained for"
        )
    scaling = ObservationScaling.identity(observation_size)
    return TrainedPolicy(policy, scaling, ActionScaling(low, high), environment_for(environment))


def behavior_from_paper(state: State, prefix: str) -> BehaviorNetwork:
    """Returns the behavior network in a state dictionary of the paper's code, under a prefix."""
    weights = {}
    for name, tensor in _under(state, prefix).items():
        if ".residual." not in name:
            for theirs, ours in _BEHAVIOR.items():
                name = name.replace(theirs, ours)
            weights[name] = tensor
    action_size, width = weights["output.weight"].shape
    embedding, features = weights["embedding.0.weight"].shape
    network = BehaviorNetwork(
        weights["input.weight"].shape[1] - action_size - embedding,
        action_size,
        blocks=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        width=width,
        features=features,
        embedding=embedding,
    )
    network.load_state_dict(weights)
    return network


def twin_q_from_paper(state: State, prefix: str, action_size: int) -> EnsembleQ:
    """Returns the twin Q in a state dictionary of the paper's code, under a prefix."""
    weights = _under(state, prefix)
    width, inputs = weights["q1.0.weight"].shape
    layers = _hidden_layers(weights, "q1.")
    network = EnsembleQ(inputs - action_size, action_size, layers=layers, width=width)
    network.load_state_dict(weights)
    return network


def policy_from_paper(state: State, prefix: str) -> DiracPolicy:
    """Returns the deterministic policy in a state dictionary of that code, under a prefix."""
    weights = _under(state, prefix)
    layers = _hidden_layers(weights, "net.")
    width, observation_size = weights["net.0.weight"].shape
    action_size = weights[f"net.{2 * layers}.weight"].shape[0]
    network = DiracPolicy(observation_size, action_size, layers=layers, width=width)
    network.load_state_dict(weights)
    return network


def _critic_from_paper(state: State) -> Critic:
    value_weights = _under(state, "vf.v.")
    width, observation_size = value_weights["0.weight"].shape
    layers = _hidden_layers(value_weights, "")
    value = ValueNetwork(observation_size, layers=layers, width=width)
    value.net.load_state_dict(value_weights)
    action_size = state["q0.q1.0.weight"].shape[1] - observation_size
    critic = Critic(twin_q_from_paper(state, "q0.", action_size), value)
    target = twin_q_from_paper(state, "q0_target.", action_size)
    critic.target_q.load_state_dict(target.state_dict())
    return critic


def _convert(path: str | os.PathLike[str], prefix: str, function: Callable[[State], T]) -> T:
    state = _load_state(path)
    if not any(name.startswith(prefix) for name in state):
        readers = [
            reader
            for kind, reader in _KINDS.items()
            if any(name.startswith(kind) for name in state)
        ]
        remedy = (
            f"read it with {' or '.join(readers)}"
            if readers
            else "give a file that the paper's training scripts wrote"
        )
        names = ", ".join(list(state)[:3]) or "none"
        raise RunError(f"got {path} with the names {names}, expected {prefix}*: {remedy}")
    try:
        return function(state)
    except (IndexError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"got {path}, whose weights are not those of the paper's networks ({reason}): give a "
            "file that the paper's training scripts wrote"
        ) from error


def _load_state(path: str | os.PathLike[str]) -> State:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    # Torch's own message advises to load the file unsafely.
    except (OSError, EOFError, pickle.UnpicklingError, KeyError, ValueError, RuntimeError) as error:
        raise RunError(
            f"got {path}, which torch cannot read as tensors, expected a state dictionary that "
            "the paper's training scripts wrote: download it again if it is one"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise RunError(
            f"got {path}, which holds no tensors by name, expected a state dictionary: save the "
            "model's state_dict() by itself"
        )
    return state


def _under(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _hidden_layers(weights: State, prefix: str) -> int:
    """Returns how many linear layers an MLP under a prefix has, less the last."""
    return sum(name.startswith(prefix) and name.endswith(".weight") for name in weights) - 1
