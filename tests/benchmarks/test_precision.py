"""The comparison of precisions tells agreement from disagreement."""

import json

from benchmarks.quality.precision import compare, markdown, numbers_of


def test_agreement_is_within_the_spread_of_the_seeds():
    reference = {"loss": [1.0, 1.2], "score": [50.0, 60.0]}
    rows = compare(reference, {"loss": [1.4, 1.5], "score": [52.0, 51.0]})
    assert not rows["loss"]["agrees"]
    assert rows["score"]["agrees"]
    assert markdown(rows).splitlines()[2].endswith("| 1.45 | no |")


def test_numbers_are_the_last_logged_of_each_seed(tmp_path):
    lines = {
        "critic": {"q_loss/seed-0": 1.0, "q_loss/seed-1": 2.0, "value_loss/seed-0": 3.0},
        "behavior": {"loss/seed-0": 4.0},
        "policy": {"q/seed-0_beta-0.1": 5.0},
    }
    for stage, line in lines.items():
        (tmp_path / stage).mkdir()
        text = json.dumps(dict.fromkeys(line, 0.0)) + "\n" + json.dumps(line) + "\n"
        (tmp_path / stage / "metrics.jsonl").write_text(text)
    member = {"policy": {"normalized_score": 7.0}}
    (tmp_path / "result.json").write_text(json.dumps({"members": {"one": member}}))
    assert numbers_of(tmp_path) == {
        "critic q_loss": [1.0, 2.0],
        "critic value_loss": [3.0],
        "behavior loss": [4.0],
        "policy q": [5.0],
        "score": [7.0],
    }
