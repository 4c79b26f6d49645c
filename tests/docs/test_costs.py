"""What "From a laptop to several machines" says of costs is what was measured."""

import json

import torch

from scoreregs_offline_rl import BehaviorConfig, TrainConfig
from scoreregs_offline_rl.randoms import BLOCK
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from tests.pages import REPOSITORY

PAGE = REPOSITORY / "docs/several-machines.md"
RESULTS = REPOSITORY / "benchmarks/results"
WAYS = {"ours": "eager", "ours compiled": "compiled", "ours bf16": "compiled, bf16"}


def result(name):
    return json.loads((RESULTS / f"speed-{name}-cpu.json").read_text())


def stages() -> str:
    """Milliseconds of a step, and hours of the steps of the paper."""
    heads = [f"{way}, ms ({unit})" for way, unit in zip(WAYS.values(), ("hours",) * 3, strict=True)]
    lines = [f"| Stage, rows of a step | Steps | {' | '.join(heads)} | on a GPU |"]
    lines.append("|" + "---|" * (len(WAYS) + 3))
    rows = {(r["group"].split(" ")[0], r["name"]): r["median"] for r in result("stages")["rows"]}
    config = TrainConfig("any")
    for name in ("critic", "behavior", "policy"):
        own = getattr(config, name)
        cells = [
            f"{rows[name, way]:.3g} ({own.steps * rows[name, way] / 3.6e6:.2g})" for way in WAYS
        ]
        first = f"{name}, {own.batch_size:,} | {own.steps:,}"
        lines.append(f"| {first} | {' | '.join(cells)} | not measured |")
    return "\n".join(lines)


def several() -> str:
    """Times over that of the simplest way."""
    whole, divided = result("whole-sweep"), result("divided-sweep")
    lines = ["| | Beside | Time |", "|---|---|---|"]
    members = f"a sweep of {whole['members']} members as one job"
    lines.append(f"| {members} | {whole['members']} runs, one by one | {whole['ratio']:.2f} |")
    two = next(row for row in divided["rows"] if row["processes"] == 2)
    seeds = f"a sweep of {len(divided['seeds'])} seeds in two processes of one thread"
    times = f"training {1 / two['training_faster']:.2f}, the whole command {1 / two['faster']:.2f}"
    lines.append(f"| {seeds} | one process of one thread | {times} |")
    lines.append("| one run in two processes | one process | not measured |")
    lines.append("| anything on several GPUs or machines | one | not measured |")
    return "\n".join(lines)


def test_the_page_has_the_tables_of_the_results():
    text = PAGE.read_text()
    assert stages() in text, f"{PAGE.name} is behind; its table is\n{stages()}"
    assert several() in text, f"{PAGE.name} is behind; its table is\n{several()}"


def test_it_says_by_which_command_and_where():
    text = PAGE.read_text()
    for name in ("stages", "whole-sweep", "divided-sweep"):
        content = result(name)
        assert content["command"].split(" --")[0] in text
        cores = content["machine"].get("cores") or content["machine"]["cpu"]["count"]
        assert cores == 2
        assert content["machine"]["gpu"] == "none"
    machine = result("stages")["machine"]
    told = f"two cores of an {machine['cpu']['brand_raw'].replace('(R)', '')}"
    assert told.removesuffix(" Processor") in text
    assert f"PyTorch {machine['torch'].split('+')[0]}" in text
    assert machine["threads"] == 2


def test_the_randoms_of_a_block_are_as_large_as_it_says():
    config = BehaviorConfig()
    drawn = BehaviorStage(17, 6, config).draw(config.batch_size, torch.Generator())
    masks = BLOCK * drawn["dropout_masks"].nbytes
    assert f"{masks / 1e6:.0f} MB" in PAGE.read_text()
