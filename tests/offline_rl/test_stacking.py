"""Stacked networks and stages: a member is what it is alone."""

import pytest
import torch
from torch import Tensor, nn

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import CriticConfig
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import (
    BehaviorNetwork,
    DiracPolicy,
    EnsembleQ,
    ValueNetwork,
)
from scoreregs_offline_rl.stages.stacking import by_member, share, stack
from tests.offline_rl.rl_data import ACTION, OBSERVATION

SIZES = (OBSERVATION, ACTION)
ROWS = 7


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def of_critic():
    return noise(3, ROWS, ACTION), noise(3, ROWS, OBSERVATION)


def of_behavior():
    masks = (torch.rand(3, ROWS, 3, 8) > 0.3).double()
    t = torch.rand(3, ROWS, dtype=torch.float64)
    return noise(3, ROWS, ACTION), t, noise(3, ROWS, OBSERVATION), masks


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: EnsembleQ(*SIZES, width=8), of_critic),
        (lambda: ValueNetwork(OBSERVATION, width=8), lambda: (noise(3, ROWS, OBSERVATION),)),
        (lambda: DiracPolicy(*SIZES, layers=3, width=8), lambda: (noise(3, ROWS, OBSERVATION),)),
        (lambda: BehaviorNetwork(*SIZES, width=8), of_behavior),
    ],
    ids=["twin Q", "value", "policy", "behavior"],
)
def test_a_member_of_a_network_is_what_it_is_alone(make, inputs):
    networks, arguments = [make().double() for _ in range(3)], inputs()
    together = stack(networks)(*arguments)
    for member, network in enumerate(networks):
        alone = network(*(argument[member] for argument in arguments))
        if isinstance(alone, Tensor):
            torch.testing.assert_close(together[member], alone, rtol=1e-13, atol=1e-13)
        else:
            for ours, its in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[member], its, rtol=1e-13, atol=1e-13)


def test_state_goes_in_and_out_and_nothing_is_shared():
    networks = [BehaviorNetwork(*SIZES, width=8) for _ in range(3)]
    stacked = stack(networks)
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.add_(1.0)
    befores = [{k: v.clone() for k, v in network.state_dict().items()} for network in networks]
    share(stacked, networks)
    for before, network in zip(befores, networks, strict=True):
        after = network.state_dict()
        assert before.keys() == after.keys()
        for name, value in before.items():
            moved = value if name == "frequencies" else value + 1.0
            torch.testing.assert_close(after[name], moved)


def test_what_is_frozen_stays_frozen():
    stage = stack([CriticStage(*SIZES, CriticConfig(width=8)) for _ in range(2)])
    assert not any(p.requires_grad for p in stage.critic.target_q.parameters())
    assert all(p.requires_grad for p in stage.critic.q.parameters())


@pytest.mark.parametrize(
    "modules",
    [
        [],
        [nn.Linear(2, 3), nn.Linear(3, 2)],
        [nn.Linear(2, 3), nn.LayerNorm(3)],
        [nn.Linear(2, 3, bias=False)],
        [nn.PReLU(), nn.PReLU()],
    ],
    ids=["none", "sizes", "classes", "no bias", "unknown parameters"],
)
def test_what_cannot_be_stacked_is_refused(modules):
    with pytest.raises(ArgumentError, match="to stack"):
        stack(modules)


def test_by_member_keeps_trailing_axes():
    flat = by_member(lambda x, t: x * t[..., None], [2])
    assert flat(torch.ones(6, 4), torch.arange(6.0)).shape == (6, 4)
