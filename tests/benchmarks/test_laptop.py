"""The laptop preset's table, on the embedded data shrunk to seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality.laptop import runs
from benchmarks.quality.laptop.__main__ import main
from benchmarks.quality.laptop.runs import HANDED_OVER, METHODS, PLAIN, WEIGHTED
from benchmarks.quality.laptop.table import improvement, markdown, verdicts
from scoreregs_offline_rl import PolicyStage, TrainConfig, preset
from scoreregs_offline_rl.files import load_json


def shrunk(data: str, name: str) -> TrainConfig:
    config = preset(data, "laptop")
    assert name == "laptop"
    small = {"steps": 4, "batch_size": 32, "width": 16}
    return replace(
        config,
        critic=replace(config.critic, **small),
        behavior=replace(config.behavior, **small),
        cloning=replace(config.cloning, **small),
        awr=replace(config.awr, **small),
        policy=replace(config.policy, **small),
        trainer=replace(config.trainer, cpu=True),
    )


def test_every_method_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(runs, "preset", shrunk)
    output = tmp_path / "laptop.json"
    words = ["--data", "pendulum-swingup", "--run-dir", str(tmp_path / "runs")]
    words += ["--output", str(output), "--seeds", "0", "1", "--episodes", "2"]
    main(words)
    content = load_json(output)
    for seed in (0, 1):
        found = [row["method"] for row in content["rows"] if row["seed"] == seed]
        assert sorted(found) == sorted(METHODS)
    assert content["verdicts"]["runs"] == 2
    assert content["verdicts"]["ok"] + content["verdicts"]["refused"] == 2
    assert "| pendulum-swingup |" in capsys.readouterr().out
    plain = tmp_path / "runs/pendulum-swingup/0/cloning/config.json"
    assert load_json(plain)["cloning"]["return_share"] is None
    # What is finished is gathered, not trained.
    monkeypatch.setattr(runs, "train", None)
    main([*words, "--finished-only"])
    assert load_json(output)["rows"] == content["rows"]


def row(method: str, seed: int, score: float, ok: bool | None = None) -> dict:
    found = {"file": "f", "seed": seed, "method": method, "score": score}
    found["returns"] = [score - 0.1, score, score + 0.1]
    return found if ok is None else found | {"verdict": {"ok": ok}}


def test_the_table_and_the_verdicts_by_hand() -> None:
    rows = []
    for seed, (plain, clone, policy, ok) in enumerate(
        [(1.0, 5.0, 9.0, True), (2.0, 5.0, 3.0, True), (3.0, 5.0, 1.0, False)]
    ):
        rows += [row(PLAIN, seed, plain), row(WEIGHTED, seed, clone)]
        rows += [row(PolicyStage.label, seed, policy)]
        rows += [row(HANDED_OVER, seed, policy if ok else clone, ok)]
    assert verdicts(rows) == {
        "runs": 3,
        "ok": 2,
        "ok and lower": 1,
        "ok and worse": 1,
        "refused": 1,
        "refused and lower": 1,
        "ok and worse than plain": 0,
    }
    assert markdown(rows).splitlines()[-1].endswith("| 94% |")
    assert improvement([9.0, 3.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(8.5 / 9)
