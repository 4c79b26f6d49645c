"""Training steps and actions of peers, from their own code: run here, never a part of this.

All take a device, so no call for CUDA needs to be redirected.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

from scoreregs_offline_rl.data.transitions import Batch

__all__ = [
    "act_of_corl",
    "act_of_d3rlpy",
    "behavior_step_of_cleandiffuser",
    "critic_step_of_corl",
    "stand_ins",
]

Step = Callable[[], Any]
Act = Callable[[np.ndarray], np.ndarray]
# What the peers import for environments, configuration, logging and images.
_UNUSED = (
    "d4rl",
    "gym",
    "pyrallis",
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "wandb",
)


def critic_step_of_corl(checkout: Path, batch: Batch) -> Step:
    """Returns a step of CORL's IQL on a batch.

    Networks, optimisers and settings are its defaults, the sizes of which are ours: two hidden
    layers of 256 units. Beyond our critic step it trains the Gaussian actor with advantage weights,
    a third network of that size with a schedule of its learning rate, and reads each of the three
    losses as a number: 25 % more operations. The batch is given to it.

    Args:
        checkout: Of github.com/tinkoff-ai/CORL.
        batch: What every step is taken on.
    """
    device = batch.observations.device
    with stand_ins(_UNUSED):
        corl = _module("corl_iql", checkout / "algorithms/offline/iql.py")
    sizes = batch.observations.shape[1], batch.actions.shape[1]
    q, actor = corl.TwinQ(*sizes).to(device), corl.GaussianPolicy(*sizes, 1.0).to(device)
    value = corl.ValueFunction(sizes[0]).to(device)
    actor_optimizer, q_optimizer, v_optimizer = (
        torch.optim.Adam(network.parameters(), lr=3e-4) for network in (actor, q, value)
    )
    learner = corl.ImplicitQLearning(
        max_action=1.0,
        actor=actor,
        actor_optimizer=actor_optimizer,
        q_network=q,
        q_optimizer=q_optimizer,
        v_network=value,
        v_optimizer=v_optimizer,
        device=device,
    )
    given = [
        batch.observations,
        batch.actions,
        batch.rewards[:, None],
        batch.next_observations,
        batch.terminals[:, None].float(),
    ]
    return lambda: learner.train(given)


def behavior_step_of_cleandiffuser(checkout: Path, batch: Batch) -> Step:
    """Returns a step of CleanDiffuser's diffusion model of actions on a batch.

    The network is its `NewIDQLMlp`, which has our residual blocks: three of 256, 1024 and 256
    units with layer normalisation, Mish and a dropout of 0.1. Its embedding of the time has 64
    features, then 128 and 64 units, where ours has 128 and 128: 1.5 % fewer weights and operations.
    The times are continuous and the schedule is the linear one, as ours are. Beyond our behavior
    step it keeps a moving average of the weights and reads the loss as a number. The batch is
    given to it.

    Args:
        checkout: Of github.com/CleanDiffuserTeam/CleanDiffuser.
        batch: What every step is taken on.
    """
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    with stand_ins(_UNUSED):
        diffusion = importlib.import_module("cleandiffuser.diffusion")
        networks = importlib.import_module("cleandiffuser.nn_diffusion.idqlmlp")
        conditions = importlib.import_module("cleandiffuser.nn_condition")
    model = diffusion.ContinuousDiffusionSDE(
        networks.NewIDQLMlp(batch.observations.shape[1], batch.actions.shape[1]),
        conditions.IdentityCondition(dropout=0.0),
        noise_schedule="linear",
        optim_params={"lr": 3e-4, "weight_decay": 0.01},
        device=batch.actions.device,
    )
    return lambda: model.update(batch.actions, batch.observations)


def act_of_corl(checkout: Path, observation_size: int, action_size: int) -> Act:
    """Returns how CORL's IQL acts on one observation: a Gaussian's mean, of our policy's size.

    Args:
        checkout: Of github.com/tinkoff-ai/CORL.
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
    """
    with stand_ins(_UNUSED):
        corl = _module("corl_iql", checkout / "algorithms/offline/iql.py")
    return corl.GaussianPolicy(observation_size, action_size, 1.0).eval().act


def act_of_d3rlpy(observation_size: int, action_size: int) -> Act:
    """Returns how the IQL of d3rlpy, where it is installed, acts on one observation.

    Args:
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
    """
    d3rlpy = importlib.import_module("d3rlpy")
    algorithm = d3rlpy.algos.IQLConfig().create(device="cpu:0")
    algorithm.create_impl((observation_size,), action_size)
    return lambda observation: algorithm.predict(observation[None])[0]


@contextmanager
def stand_ins(names: tuple[str, ...]) -> Iterator[None]:
    """Modules of any content under some names, within the block."""
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update({name: MagicMock(name=name) for name in names})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


def _module(name: str, path: Path) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
