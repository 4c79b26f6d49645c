"""The report on a data set: numbers against arrays made by hand, findings, text and picture."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.inspection.inspection import Distribution, Features, inspect_data
from scoreregs_offline_rl.inspection.plot import draw_inspection
from scoreregs_offline_rl.inspection.report import format_inspection
from tests.shared import shared_file

ROWS = 60


def arrays(**changes):
    """Six trajectories of ten rows, each second one terminal; actions evenly spread."""
    row = np.arange(ROWS)
    return {
        "observations": np.stack([np.sin(row), 5 + row / 10], 1),
        "actions": np.linspace(-2, 2, ROWS)[:, None],
        "rewards": (row // 10).astype(float),
        "terminals": row % 20 == 19,
        "timeouts": row % 20 == 9,
        **changes,
    }


def made(environment: str | None = "Pendulum-v1", **changes):
    return Transitions.from_arrays(**arrays(**changes), environment=environment)


def test_counts_and_distributions():
    inspection = inspect_data(made())
    assert (inspection.rows, inspection.recorded) == (57, 60)
    assert (inspection.trajectories, inspection.terminal, inspection.incomplete) == (6, 3, 0)
    assert inspection.terminal_rows == 3
    assert inspection.returns.quantiles == (0.0, 0.0, 10.0, 20.0, 40.0, 50.0, 50.0)
    assert inspection.returns.mean == 25.0
    assert set(inspection.lengths.quantiles) == {10.0}
    assert inspection.findings == ()


def test_a_trajectory_that_the_data_cut_has_no_return():
    inspection = inspect_data(made(terminals=np.zeros(ROWS, bool)))
    assert (inspection.trajectories, inspection.incomplete, inspection.terminal) == (4, 1, 0)
    assert inspection.returns.mean == pytest.approx((0 + 10 * (1 + 2) + 10 * (3 + 4)) / 3)
    assert inspection.lengths.quantiles[0] == 10


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=1001)
    distribution = Distribution.of(torch.from_numpy(values))
    expected = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    np.testing.assert_allclose(distribution.quantiles, expected)


def test_columns_are_described():
    columns = torch.tensor([[1.0, 3.0], [5.0, 3.0]])
    features = Features.of(columns)
    assert features.minimum.tolist() == [1.0, 3.0]
    assert features.mean.tolist() == [3.0, 3.0]
    assert features.maximum.tolist() == [5.0, 3.0]
    assert features.std.tolist() == [2.0, 0.0]
    assert features.constant == [1]


def test_actions_are_counted_between_the_environments_bounds():
    row = np.arange(ROWS)
    actions = np.where(row < 30, 0.1, np.where(row < 45, 2.0, -1.99))[:, None]
    inspection = inspect_data(made(actions=actions, next_observations=np.zeros((ROWS, 2))))
    assert inspection.bounds_known
    assert (inspection.action_low.tolist(), inspection.action_high.tolist()) == ([-2.0], [2.0])
    counts = inspection.action_counts[0].tolist()
    assert (counts[0], counts[12], counts[-1], sum(counts)) == (15, 30, 15, 60)
    assert inspection.at_bounds.tolist() == [0.5]


@pytest.mark.parametrize("environment", [None, "Mine-v0", "Hopper-v5"])
def test_without_bounds_the_datas_extremes_stand_in(environment):
    inspection = inspect_data(made(environment, actions=np.linspace(0, 3, ROWS)[:, None]))
    assert not inspection.bounds_known
    assert (inspection.action_low.tolist(), inspection.action_high.tolist()) == ([0.0], [3.0])


def test_scores_where_there_are_references():
    inspection = inspect_data(made("Pendulum-v1"))
    assert inspection.scores is not None
    span = -150.3 + 1225.6
    assert inspection.scores == pytest.approx(
        (100 * (25 + 1225.6) / span, 100 * (50 + 1225.6) / span)
    )
    assert inspect_data(made("Mine-v0")).scores is None
    assert inspect_data(made(None)).scores is None


def _runs():
    return np.isin(np.arange(ROWS), [4, 5, 6, 19, 39, 59])


def _jumping():
    """Next observations that follow, but for one row within a trajectory."""
    following = np.roll(arrays()["observations"], -1, axis=0)
    following[33] += 1.0
    return following


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observations": np.stack([np.arange(60.0), np.ones(60)], 1)}, "1 of 2 observations.*1"),
        ({"actions": np.zeros((ROWS, 1))}, "1 of 1 actions never change"),
        ({"actions": np.linspace(-2, 2.5, ROWS)[:, None]}, "beyond the bounds.*by up to 0.5"),
        ({"rewards": np.ones(ROWS)}, "returns are the same.*none"),
        ({"terminals": _runs()}, "2 terminal rows follow.*terminals_end"),
        ({"next_observations": _jumping()}, "in 1 rows, first 33, the next observation"),
    ],
)
def test_findings(changes, words):
    inspection = inspect_data(made(**changes))
    assert len(inspection.findings) == 1
    assert re.search(words, inspection.findings[0])
    assert f"- {inspection.findings[0]}" in format_inspection(inspection)


class TestStatesReadAsSteps:
    """T + 1 rows a trajectory, `terminals` on the last state."""

    def log(self, lengths=(21,) * 5, *, filler=None, **changes):
        rows, rng = sum(lengths), np.random.default_rng(0)
        last = np.cumsum(lengths) - 1
        actions = rng.uniform(-1, 1, (rows, 2))
        if filler == "zero":
            actions[last] = 0.0
        elif filler == "repeated":
            actions[last] = actions[last - 1]
        given = {
            "observations": rng.normal(size=(rows, 3)),
            "actions": actions,
            "rewards": rng.normal(size=rows),
            "terminals": np.isin(np.arange(rows), last),
            "max_episode_steps": 1000,
            **changes,
        }
        return Transitions.from_arrays(**given)

    def found(self, data):
        return [finding for finding in inspect_data(data).findings if "layout states" in finding]

    def test_by_lengths_that_are_all_the_same(self):
        (finding,) = self.found(self.log())
        assert finding.startswith("all 5 trajectories end for good after 21 rows")

    def test_also_as_qlearnings_rows_and_where_the_recording_was_cut(self):
        assert self.found(self.log(rows="qlearning"))
        assert self.found(self.log(terminals=np.arange(105) % 20 == 19))

    @pytest.mark.parametrize(
        ("filler", "words"), [("zero", "the same"), ("repeated", "that of the row before")]
    )
    def test_by_an_action_that_is_a_filler(self, filler, words):
        (finding,) = self.found(self.log((21, 8, 13, 30), filler=filler))
        assert f"all 4 trajectories end for good in an action that is {words}" in finding

    def test_by_steps_that_were_counted(self):
        (finding,) = self.found(self.log(max_episode_steps=20))
        assert finding.startswith("all trajectories have 20 rows and are followed by one of a")

    def test_read_with_the_layout_it_has_no_finding(self, tmp_path):
        data = self.log()
        arrays = {key: getattr(data, key).numpy() for key in ("observations", "actions", "rewards")}
        np.savez(tmp_path / "log.npz", **arrays, terminals=data.terminals.numpy())
        again = load_data(tmp_path / "log.npz", LoadingConfig(layout="states"))
        assert (len(again), bool(again.terminals.any())) == (100, False)
        assert inspect_data(again).findings == ()

    @pytest.mark.parametrize(
        "changes",
        [
            {"lengths": (21, 8, 13, 30)},
            # What followed is recorded, or rows were cut.
            {"next_observations": np.random.default_rng(1).normal(size=(105, 3))},
            {"timeouts": np.arange(105) % 21 == 10},
            # Bandits, and tasks of two steps.
            {"lengths": (1,) * 100},
            {"lengths": (2,) * 50},
            {"lengths": (50,)},
            # Bang-bang: the last action is like many.
            {
                "lengths": (21, 8, 13, 30),
                "actions": np.where(np.arange(72) % 3 == 0, -1.0, 1.0)[:, None],
            },
        ],
    )
    def test_what_are_steps(self, changes):
        assert self.found(self.log(**changes)) == []


def test_the_text_is_a_page():
    row = np.arange(ROWS)
    actions = np.where(row < 30, 0.1, np.where(row < 45, 2.0, -1.99))[:, None]
    text = format_inspection(inspect_data(made(actions=actions)))
    for part in (
        "rows           57 (3 more recorded, left out): 2 observations, 1 actions",
        "6: 3 with a terminal, 3 cut by a timeout, 0 by the end of the data",
        "score          116.3 on average",
        "50.9 %  -2 [+           @          +] 2",
    ):
        assert part in text, part
    assert "mind that" not in text


def test_many_columns_stay_a_page():
    wide = np.random.default_rng(0).normal(size=(ROWS, 300))
    text = format_inspection(inspect_data(made("Mine-v0", observations=wide, actions=wide)))
    assert text.count("\n") < 70
    assert text.count("and 276 more") == 2
    assert max(map(len, text.splitlines())) < 130


def test_the_text_of_a_real_file():
    from scoreregs_offline_rl.data.hdf5 import load_hdf5

    data = load_hdf5(shared_file("data/hopper-mixed.hdf5"))
    text = format_inspection(inspect_data(data))
    assert "score          46.9 on average" in text
    assert "mind that" not in text


@pytest.mark.parametrize(
    "changes", [{}, {"terminals": np.zeros(ROWS, bool)}, {"rewards": np.ones(ROWS)}]
)
def test_the_picture(tmp_path, changes, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k)
    )
    backend, figures = mpl.get_backend(), plt.get_fignums()
    data = made(**changes)
    draw_inspection(data, inspect_data(data), tmp_path / "new" / "a.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert (image.format, *image.size) == ("PNG", 1540, 880)
    assert (mpl.get_backend(), plt.get_fignums()) == (backend, figures)
    panels = drawn[0].axes[:6]
    assert [axis.get_xlabel().split()[0] for axis in panels] == [
        "trajectory,",
        "return",
        "length",
        "reward",
        "action,",
        "index",
    ]
    for axis in panels:
        assert axis.get_ylabel()
        assert axis.collections or axis.patches or axis.images
        legend = axis.get_legend()
        # Above the panel, off the data.
        assert legend is None or legend.get_window_extent().y0 >= axis.get_window_extent().y1
    heights = sum(patch.get_height() for patch in panels[3].patches)
    assert heights == len(data)
    assert panels[4].images[0].get_cmap().name == "cividis"
    assert panels[4].images[0].get_array().sum() == pytest.approx(1.0)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = arrays()
    given["state"] = given.pop("observations")
    save_hdf5(tmp_path / "log.hdf5", given, "Pendulum-v1")
    assert main(["inspect", "log.hdf5", "--loading.keys.observations", "state"]) == 0
    printed = capsys.readouterr().out
    assert "57 (3 more recorded" in printed
    assert printed.endswith("picture: log.inspection.png\n")
    assert (tmp_path / "log.inspection.png").exists()
    assert main(["inspect", "log.hdf5"]) == 2
    assert capsys.readouterr().err.startswith("error: log.hdf5, key 'observations': got no such")
