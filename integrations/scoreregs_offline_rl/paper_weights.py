"""Weights in the checkpoints that the paper's code writes and that were published with it.

Their networks see unscaled observations, and actions in [-1, 1].
"""

import os
import pickle
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from scoreregs_offline_rl.critic import Critic
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.networks import BehaviorNetwork, DiracPolicy, TwinQ, ValueNetwork

__all__ = [
    "behavior_from_paper",
    "load_paper_behavior",
    "load_paper_critic",
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


def load_paper_behavior(path: str | os.PathLike[str]) -> BehaviorNetwork:
    """Read a behavior checkpoint (`diffusion_behavior.*`).

    Raises:
        RunError: The file is no such checkpoint.
    """
    return _convert(path, lambda state: behavior_from_paper(state, "diffusion_behavior."))


def load_paper_critic(path: str | os.PathLike[str]) -> Critic:
    """Read a critic checkpoint (`q0.*`, `q0_target.*`, `vf.*`).

    Raises:
        RunError: The file is no such checkpoint.
    """
    return _convert(path, _critic_from_paper)


def behavior_from_paper(state: State, prefix: str) -> BehaviorNetwork:
    """The behavior network in a state dictionary of the paper's code, under a prefix."""
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


def twin_q_from_paper(state: State, prefix: str, action_size: int) -> TwinQ:
    """The twin Q in a state dictionary of the paper's code, under a prefix."""
    weights = _under(state, prefix)
    width, inputs = weights["q1.0.weight"].shape
    layers = _hidden_layers(weights, "q1.")
    network = TwinQ(inputs - action_size, action_size, layers=layers, width=width)
    network.load_state_dict(weights)
    return network


def policy_from_paper(state: State, prefix: str) -> DiracPolicy:
    """The deterministic policy in a state dictionary of the paper's code, under a prefix."""
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


def _convert(path: str | os.PathLike[str], function: Callable[[State], T]) -> T:
    try:
        return function(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, pickle.UnpicklingError, KeyError, ValueError, RuntimeError) as error:
        raise RunError(
            f"got {path}, which is no checkpoint of the paper's code ({error}): give the file that "
            "its training script wrote"
        ) from error


def _under(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _hidden_layers(weights: State, prefix: str) -> int:
    """Linear layers of an MLP under a prefix, less the last."""
    return sum(name.startswith(prefix) and name.endswith(".weight") for name in weights) - 1
