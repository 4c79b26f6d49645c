"""The laptop preset's table, on the embedded data shrunk to seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.laptop import beside, by_minutes, runs
from benchmarks.quality.laptop.__main__ import main
from benchmarks.quality.laptop.runs import HANDED_OVER, METHODS, PLAIN, WEIGHTED
from benchmarks.quality.laptop.table import differences, improvement, markdown, verdicts
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row
from benchmarks.quality.scores.selection import selecting_policy
from scoreregs_offline_rl import BehaviorConfig, PolicyStage, TrainConfig, load_models, preset
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
        td3_bc=replace(config.td3_bc, **small),
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


def test_scores_by_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(runs, "preset", shrunk)
    trained = []

    def train(config: TrainConfig, folder: Path, **rest: Any) -> dict:
        trained.append(config.minutes)
        return run_preset(replace(config, minutes=None), folder, **rest)

    run_preset = runs.train
    monkeypatch.setattr(runs, "train", train)
    output, picture = tmp_path / "laptop-minutes.json", tmp_path / "seconds.png"
    words = ["--output", str(output), "--picture", str(picture)]
    asked = ["--data", "pendulum-swingup", "--run-dir", str(tmp_path), "--seeds", "0"]
    by_minutes.main([*words, *asked, "--minutes", "0.5", "2", "--episodes", "1"])
    rows = load_json(output)["rows"]
    assert trained == [0.5, 2.0]
    assert [row["minutes"] for row in rows if row["method"] == PolicyStage.label] == [0.5, 2.0]
    printed = capsys.readouterr().out
    assert "| pendulum-swingup | 0.5 |" in printed
    drawn = picture.read_bytes()
    picture.unlink()
    by_minutes.main([*words, "--redraw"])
    assert picture.read_bytes() == drawn
    assert capsys.readouterr().out in printed
    with pytest.raises(SystemExit):
        by_minutes.main([*words, "--data", "pendulum-swingup"])
    assert "--run-dir" in capsys.readouterr().err


def of_the_paper(protocol: Protocol, data: Path, seed: int, checkout: Path) -> list[Row]:
    """A step of each stage takes a hundredth of a second in all."""
    assert checkout.name == "SRPO"
    steps = protocol.gradient_steps / 3
    found = {"file": data.stem, "seed": seed, "method": "its own", "score": float(steps)}
    return [found | {"seconds": steps / 100, "beta": protocol.beta}]


def of_selection(protocol: Protocol, data: Path, seed: int, ours: Path) -> list[Row]:
    """A sample of a model with preconditioning, in place of an episode of them."""
    models = load_models(ours)
    assert isinstance(models.stages["behavior"].config, BehaviorConfig)
    assert models.stages["behavior"].config.preconditioning == "edm"
    low, high = selecting_policy(models, candidates=protocol.candidates)(np.zeros((2, 3)))[:, 0]
    assert -2 <= min(low, high) <= max(low, high) <= 2
    return [{"file": data.stem, "seed": seed, "score": 0.0}]


def test_methods_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(runs, "preset", shrunk)
    monkeypatch.setattr(beside, "run_paper", of_the_paper)
    monkeypatch.setattr(beside, "run_selection", of_selection)
    output = tmp_path / "laptop.json"
    words = ["--data", "pendulum-swingup", "--run-dir", str(tmp_path / "runs"), "--episodes", "1"]
    words += ["--seeds", "0", "--output", str(output)]
    with pytest.raises(SystemExit):
        main([*words, "--beside", "paper", "--finished-only", "--earlier", str(tmp_path / "no")])
    assert "cannot read" in capsys.readouterr().err
    checkout = tmp_path / "SRPO"
    with_code = [*words, "--beside", *beside.BESIDE, "--paper-code", str(checkout)]
    for asked, got in (([*words, "--beside", "paper"], "no --paper-code"), (with_code, "SRPO.py")):
        with pytest.raises(SystemExit):
            main(asked)
        assert got in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    checkout.mkdir()
    (checkout / "SRPO.py").touch()
    main(with_code)
    rows = {row["method"]: row for row in load_json(output)["rows"]}
    assert list(rows) == [*dict.fromkeys(rows)]
    assert {*rows} == {*METHODS, *beside.LABELS}
    assert all(label[0].upper() + label[1:] in capsys.readouterr().out for label in ["SRPO"])
    of_paper = rows["the paper's code"]
    assert of_paper["steps"] == pytest.approx(100 * rows["SRPO"]["seconds"], abs=1)
    folder = tmp_path / "runs/pendulum-swingup/0"
    assert load_json(folder / "dtql/config.json")["policy"]["through_prior"]
    assert load_json(folder / "rebrac/config.json")["td3_bc"]["layer_norm"]
    shared = [folder / run / "critic/weights.safetensors" for run in ("preset", "dtql")]
    assert shared[0].read_bytes() == shared[1].read_bytes()
    # Another machine's rows stand where there are none of its own.
    other = [*words, "--earlier", str(output), "--finished-only"]
    other[other.index("--seeds") + 1] = "1"
    main(other)
    assert [row["seed"] for row in load_json(output)["rows"]] == [0] * len(rows)
    main(other)
    commands = [each["command"] for each in load_json(output)["earlier"]]
    assert commands[0].endswith("--paper-code SRPO")
    assert len(commands) == 2


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
    assert markdown(rows).splitlines()[-2].endswith("| 94% |")
    assert improvement([9.0, 3.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(8.5 / 9)


def test_differences_and_the_mean_over_files_by_hand() -> None:
    rows = []
    for file, ours, theirs in (("f", (4.0, 6.0), (1.0, 1.0)), ("g", (2.0, 2.0), (1.0, 3.0))):
        for seed in range(2):
            rows.append(row(HANDED_OVER, seed, ours[seed], ok=True) | {"file": file})
            rows.append(row(PLAIN, seed, theirs[seed]) | {"file": file})
    column = METHODS.index(PLAIN) + 1
    f, g = (line.split(" | ")[column] for line in differences(rows).splitlines()[-2:])
    assert f == "4.0 (3.0 to 5.0) +"
    assert g == "0.0 (-1.0 to 1.0)"
    # The middle two of {2, 2, 4, 6}; drawn within files, those of g stay 2 and 2.
    told = markdown(rows).splitlines()[-1].split(" | ")[METHODS.index(HANDED_OVER) + 1]
    assert told == "3.0 (3.0 to 4.0; 4)"
