"""The paper's settings give the weights that they gave before stages had a registry, to the bit.

`digests.json` was made by the version before, which drew rows and noise in the first way. Bits
depend on the processor: a few steps of plain torch, which know nothing of this library, have to
come out as they did there.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    sweep,
    train,
)
from scoreregs_offline_rl.files import load_tensors

KEPT = json.loads((Path(__file__).parent / "digests.json").read_text())
CONFIG = TrainConfig(
    data="pendulum-swingup",
    beta=0.1,
    critic=CriticConfig(steps=12),
    behavior=BehaviorConfig(steps=4),
    policy=PolicyConfig(steps=12),
    evaluation=EvaluationConfig(episodes=0),
    trainer=TrainerConfig(cpu=True, log_every=4, checkpoint_every=4, draws=1),
)
ANTMAZE = replace(
    CONFIG,
    critic=CriticConfig(steps=12, expectile=0.9),
    policy=PolicyConfig(steps=12, layers=4, normalize="rms", beta_on="value"),
    awr=AWRConfig(advantage_scale=10.0),
    rewards="antmaze",
)


def arithmetic():
    """The digest of three steps of Adam in plain torch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Linear(64, 256), nn.LayerNorm(256), nn.ReLU(), nn.Linear(256, 8)
        network = nn.Sequential(*layers)
        x = torch.randn(256, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(3):
        loss = torch.tanh(network(x)).square().mean() + torch.sigmoid(network(x)).exp().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    digest = hashlib.sha256()
    for parameter in network.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module", autouse=True)
def same_machine():
    if arithmetic() != KEPT["arithmetic"]:
        pytest.skip(f"plain torch rounds otherwise here than where {KEPT['made_by']} ran")


def digests(run_dir, stages):
    found = {}
    for stage in stages:
        digest = hashlib.sha256()
        for name, tensor in sorted(load_tensors(run_dir / stage / "weights.safetensors").items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        found[stage] = digest.hexdigest()
    return found


@pytest.mark.parametrize(("name", "config"), [("paper", CONFIG), ("antmaze", ANTMAZE)])
def test_a_run(tmp_path, name, config):
    train(config, tmp_path)
    assert digests(tmp_path, KEPT["digests"][name]) == KEPT["digests"][name]


def test_a_sweep(tmp_path):
    config = replace(
        CONFIG,
        beta=None,
        critic=CriticConfig(steps=12, width=32),
        behavior=BehaviorConfig(steps=4, batch_size=64, width=32),
        policy=PolicyConfig(steps=12, width=32),
    )
    sweep(config, tmp_path, grid=SweepGrid(seeds=(0, 1), betas=(0.1, 0.5)))
    assert digests(tmp_path, KEPT["digests"]["sweep"]) == KEPT["digests"]["sweep"]
