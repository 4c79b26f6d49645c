"""Steps in turn, a few of them."""

import json

from benchmarks.speed import in_turn


def test_every_pair_has_a_ratio(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SCOREREGS_SRPO", raising=False)
    monkeypatch.setattr(in_turn, "ours", lambda stage: iter([("eager", lambda: sum(range(2000)))]))
    monkeypatch.setattr(
        in_turn, "others", lambda stage: iter([("slow", lambda: sum(range(20_000)))])
    )
    output = tmp_path / "turn.json"
    words = ["in_turn", "--output", str(output), "--rounds", "20", "--stages", "critic", "policy"]
    monkeypatch.setattr(in_turn.sys, "argv", words)
    in_turn.main()
    rows = json.loads(output.read_text())["rows"]
    assert [(row["stage"], row["other"], row["ours"]) for row in rows] == [
        ("critic", "slow", "eager"),
        ("policy", "slow", "eager"),
    ]
    assert all(row["interval"][0] <= row["ratio"] <= row["interval"][1] for row in rows)
    assert rows[0]["ratio"] > 3
    assert "critic: slow takes" in capsys.readouterr().out


def test_the_rows_that_there_are(monkeypatch):
    monkeypatch.delenv("SCOREREGS_SRPO", raising=False)
    (name, step), *more = in_turn.others("policy")
    step()
    assert (name, more) == ("plain torch", [])
    way, own = next(in_turn.ours("policy"))
    own()
    assert way == "eager"
