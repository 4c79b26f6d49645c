"""Finished run directories without training."""

import dataclasses
import json

import numpy as np
import torch

from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.stages.networks import DiracPolicy

STAGES = ("critic", "behavior", "awr", "policy")


def make_policy(seed=0):
    """A small policy of the pendulum, with statistics that are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    network = DiracPolicy(3, 1, width=8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    observations = ObservationScaling(torch.tensor([0.3, -0.1, 1.0]), torch.tensor([0.5, 0.8, 3.0]))
    bounds = ActionScaling(torch.tensor([-2.0]), torch.tensor([2.0]))
    return TrainedPolicy(network, observations, bounds, "Pendulum-v1")


def write_run(
    folder,
    *,
    data="swing",
    environment="Pendulum-v1",
    seed=0,
    beta=0.1,
    returns=None,
    data_score: float | None = 20.0,
    metrics=True,
):
    """Write what the commands for finished runs read; `returns` are the episodes' of each stage."""
    returns = returns or {"policy": [-200.0, -300.0], "awr": [-400.0, -500.0]}
    evaluations = {
        stage: dataclasses.asdict(EvaluationResult.from_returns(environment, r, [200] * len(r)))
        for stage, r in returns.items()
    }
    config = {
        "data": f"/somewhere/{data}.hdf5",
        "seed": seed,
        "beta": beta,
        "policy": {"steps": 5},
        "evaluation": {"environment": environment, "seed": seed},
        "trainer": {"cpu": seed > 0},
    }
    result = {
        **evaluations,
        "data": config["data"],
        "data_return": -900.0,
        "data_score": data_score,
        "beta": beta,
        "seed": seed,
        "command": "scoreregs-offline-rl train --beta 0.1",
        "versions": {"torch": torch.__version__},
    }
    save_json(folder / "config.json", config)
    save_json(folder / "result.json", result)
    for number, agent in enumerate(("agent", "awr_agent")):
        make_policy(number).save(folder / agent)
    for stage in STAGES if metrics else ():
        lines = [{"step": 10 * i, "loss": 1 / i, "q": float(np.log(i))} for i in range(1, 6)]
        (folder / stage).mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / stage / "metrics.jsonl").write_text(text)
    return folder
