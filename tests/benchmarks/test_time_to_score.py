"""Score by time of training: the arithmetic, and a run of seconds."""

import json
from dataclasses import replace
from functools import partial

import pytest

from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.time_to_score import __main__ as command
from benchmarks.quality.time_to_score.curves import our_curves, paper_curves
from benchmarks.quality.time_to_score.report import draw, table
from benchmarks.quality.time_to_score.settings import PAPER_CODE, settings
from benchmarks.quality.time_to_score.timing import Steps, step_seconds
from scoreregs_offline_rl import load_data

PROTOCOL = Protocol(
    beta=0.1,
    critic_steps=4,
    behavior_steps=4,
    behavior_batch=32,
    behavior_width=16,
    policy_steps=4,
    episodes=1,
    evaluate_every=2,
)


def outcome():
    """Two seeds; the mean is 10 after 1000 and 30 after 2000 steps."""
    curve = {"step": [1000, 2000, 1000, 2000], "score": [5.0, 20.0, 15.0, 40.0]}
    numbers = {
        "goals": [30.0, 50.0],
        "data": 25.0,
        "steps": {"critic": 100, "behavior": 10, "policy": 2000},
        "step_seconds": {"one": {"critic": 0.02, "behavior": 0.1, "policy": 0.005}},
    }
    rows = {"setting": ["one"] * 4, "seed": [0.0, 0.0, 1.0, 1.0], **curve}
    return Outcome(numbers, {"curves": rows})


def test_times_are_those_of_all_stages():
    line = table(outcome()).splitlines()[-1]
    # 100 x 20 ms + 10 x 100 ms + 2000 x 5 ms.
    assert line == "| one | 20.0 | 100.0 | 5.0 | 13 | 30.0 (20.0 to 40.0) | 13 | not reached |"


def test_everybody_takes_as_many_steps_in_turns():
    order = []
    steps: dict[str, Steps] = {label: {"policy": partial(order.append, label)} for label in "ab"}
    found = step_seconds(steps, turns=2, each=2)
    assert "".join(order) == "aabb" * 3
    assert found["a"]["policy"] > 0


def test_settings_change_one_thing_at_a_time():
    paper, raw, ours, *rest = settings(PROTOCOL)
    assert replace(raw.protocol, normalize_observations=True) == ours.protocol == PROTOCOL
    assert (paper.protocol.learning_rate, paper.protocol.target_rate) == (3e-4, 0.005)
    for setting in rest:
        assert setting.protocol == PROTOCOL
        assert setting.models == ours.models
        assert len(setting.policy) == 1


def test_curves_of_the_paper_code_that_are_kept(tmp_path):
    (tmp_path / "paper-3.json").write_text(json.dumps({"step": [1000], "score": [7.0]}))
    data = load_data("pendulum-swingup")
    found = paper_curves(PROTOCOL, data, (3,), tmp_path, tmp_path / "no-checkout")
    assert found == [(PAPER_CODE, 3, 1000, 7.0)]


def test_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "settings", lambda protocol: settings(protocol)[1:4])
    monkeypatch.setattr(command, "step_seconds", lambda steps: step_seconds(steps, turns=1, each=1))
    arguments = command.Arguments(seeds=(0, 1), protocol=PROTOCOL)
    found = command.measure(arguments, "pendulum-swingup", tmp_path)
    rows = found.tables["curves"]
    assert rows["step"] == (2, 4) * 6
    # Those that share models share nothing else.
    assert len(set(rows["score"])) > 6
    again = our_curves(settings(PROTOCOL)[2], load_data("pendulum-swingup"), (0, 1), tmp_path)
    assert again == list(zip(*rows.values(), strict=True))[4:8]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got no --data or no --run-dir, expected both unless --redraw"),
        (["--data", "missing.hdf5", "--run-dir", "runs"], "missing.hdf5"),
        (["--data", "a.hdf5", "--run-dir", "runs", "--seeds", "1", "1"], "got --seeds 1 1"),
        (["--redraw", "--results", "none"], "time-to-score.json"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_picture_shows_each_setting_where_it_belongs():
    labels = [PAPER_CODE, *(setting.label for setting in settings(PROTOCOL))]
    one = outcome()
    steps = dict.fromkeys(labels, one.numbers["step_seconds"]["one"])
    rows = {name: list(values) * len(labels) for name, values in one.tables["curves"].items()}
    rows["setting"] = [label for label in labels for _ in range(4)]
    found = draw(Outcome({**one.numbers, "step_seconds": steps}, {"curves": rows}))
    left, right = ([line.get_label() for line in axis.lines] for axis in found.axes)
    assert left == [*labels[:4], "the data"]
    assert right == [*labels[3:], "the data"]
