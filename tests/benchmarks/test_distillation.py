"""The distillation benchmark, shrunk: its distance and its rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.quality.distillation import Arguments, measure, sliced_wasserstein


def test_the_distance_is_that_of_each_projection():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 300, 2, generator=random)
    angles = np.arange(8) * np.pi / 8
    squares = []
    for angle in angles:
        along = np.array([np.cos(angle), np.sin(angle)])
        first, second = np.sort(x.numpy() @ along), np.sort(y.numpy() @ along)
        # On a line the optimal plan keeps the order; scipy has the first moment of the same plan.
        assert np.abs(first - second).mean() == pytest.approx(
            stats.wasserstein_distance(first, second)
        )
        squares.append(np.square(first - second).mean())
    assert sliced_wasserstein(x, y, directions=8) == pytest.approx(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize("data", ["normals", "spiral"])
def test_every_recipe_gets_a_row(data):
    shrunk = Arguments(
        Path("unused.json"), data, teacher_steps=20, steps=2, fake_steps=1, samples=200
    )
    found = measure(shrunk)
    assert list(found["distances"]) == ["other data", "teacher", "vsd", "diff_instruct", "sid"]
    assert all(np.isfinite(d) and d > 0 for d in found["distances"].values())
    assert found["over_teacher"]["teacher"] == 1
