"""Networks: sizes of Appendix C, and the behavior network by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from scoreregs_offline_rl.stages.networks import (
    BehaviorNetwork,
    DiracPolicy,
    EnsembleQ,
    ValueNetwork,
)


def linear_sizes(module):
    return [
        (layer.in_features, layer.out_features)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Linear)
    ]


def test_sizes_of_appendix_c():
    q = EnsembleQ(17, 6)
    assert linear_sizes(q.q1) == linear_sizes(q.q2) == [(23, 256), (256, 256), (256, 1)]
    assert linear_sizes(ValueNetwork(17)) == [(17, 256), (256, 256), (256, 1)]
    assert linear_sizes(DiracPolicy(17, 6)) == [(17, 256), (256, 256), (256, 6)]
    assert len(linear_sizes(DiracPolicy(17, 6, layers=4))) == 5
    block = [(256, 1024), (1024, 256)]
    embedding = [(64, 128), (128, 128)]
    expected = [*embedding, (23 + 128, 256), *block * 3, (256, 6)]
    assert linear_sizes(BehaviorNetwork(17, 6)) == expected


def test_twin_q_by_hand():
    q = EnsembleQ(4, 2, width=8)
    action, observation = torch.randn(5, 2), torch.randn(5, 4)

    def by_hand(net):
        hidden = torch.cat([action, observation], 1)
        for index in (0, 2):
            hidden = F.relu(hidden @ net[index].weight.T + net[index].bias)
        return (hidden @ net[4].weight.T + net[4].bias)[:, 0]

    one, two = by_hand(q.q1), by_hand(q.q2)
    torch.testing.assert_close(q(action, observation), (one, two))
    torch.testing.assert_close(q.mean(action, observation), (one + two) / 2)
    torch.testing.assert_close(q.minimum(action, observation), torch.minimum(one, two))


def test_policy_is_bounded():
    policy = DiracPolicy(4, 2)
    assert (policy(1e3 * torch.randn(50, 4)).abs() <= 1).all()


@pytest.mark.parametrize("masked", [False, True])
def test_behavior_network_by_hand(masked):
    network: Any = BehaviorNetwork(4, 2, blocks=2, width=8, features=6, embedding=5)
    x_t, t, condition = torch.randn(3, 2), torch.rand(3), torch.randn(3, 4)
    masks = torch.randint(0, 2, (3, 2, 8)) / 0.5 if masked else None

    def mish(x):
        return x * torch.tanh(torch.log1p(torch.exp(x)))

    def linear(layer, x):
        return x @ layer.weight.T + layer.bias

    phase = 2 * math.pi * t[:, None] * network.frequencies
    time = torch.cat([torch.sin(phase), torch.cos(phase)], 1)
    time = linear(network.embedding[2], mish(linear(network.embedding[0], time)))
    hidden = linear(network.input, torch.cat([x_t, condition, time], 1))
    for index, block in enumerate(network.blocks):
        inner = hidden * masks[:, index] if masks is not None else hidden
        inner = (inner - inner.mean(1, keepdim=True)) / torch.sqrt(
            inner.var(1, correction=0, keepdim=True) + 1e-5
        )
        inner = inner * block.norm.weight + block.norm.bias
        hidden = hidden + linear(block.contract, mish(linear(block.expand, inner)))
    expected = linear(network.output, mish(hidden))
    torch.testing.assert_close(network(x_t, t, condition, masks), expected, rtol=1e-4, atol=1e-5)


def test_frequencies_are_fixed_and_saved():
    network = BehaviorNetwork(4, 2, features=2000)
    assert "frequencies" in network.state_dict()
    assert "frequencies" not in dict(network.named_parameters())
    assert 28 < network.frequencies.std().item() < 32


def test_no_network_draws_anything():
    network = BehaviorNetwork(4, 2).train()
    inputs = torch.randn(3, 2), torch.rand(3), torch.randn(3, 4)
    before = torch.get_rng_state()
    assert network(*inputs).equal(network(*inputs))
    assert torch.get_rng_state().equal(before)
