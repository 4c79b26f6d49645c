"""The speed benchmark's own parts; what it times is timed by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed.limits import MatrixProducts, bandwidth, flops_of
from benchmarks.speed.paired import Paired, assert_within, time_in_turn
from benchmarks.speed.plain import PLAIN
from benchmarks.speed.ratios import lines_of
from benchmarks.speed.report import chart, markdown, summary
from benchmarks.speed.workload import make_stage, random_rows


def entry(name, group, median):
    return {"name": name, "group": group, "stats": {"median": median, "iqr": median / 10}}


def test_a_ratio_is_to_our_row_of_the_group():
    content = {
        "benchmarks": [
            entry("test_ours[critic]", "critic", 0.002),
            entry("test_paper_code[critic]", "critic", 0.003),
            entry("test_policy_in_torch[1]", "acting", 0.001),
            entry("test_diffusion_policy[DDPM-5-1]", "acting", 0.1),
            entry("test_alone", "nobody's", 1.0),
            entry("test_through_prior[eq_15]", "through", 0.001),
            entry("test_through_prior[through_prior]", "through", 0.003),
        ]
    }
    lines = lines_of(content["benchmarks"])
    assert [(line.name, round(line.ratio, 6)) for line in lines] == [
        ("ours", 1.0),
        ("paper code", 1.5),
        ("policy in torch", 1.0),
        ("DDPM, 5 steps, best of 1", 100.0),
        ("Eq. 15", 1.0),
        ("through the prior", 3.0),
    ]
    assert markdown(lines).count("\n") == 7
    content |= {"machine_info": {"torch": "2.6", "node": "secret"}, "datetime": "today"}
    kept = summary(content, "a command")
    assert kept["rows"][1]["ratio"] == pytest.approx(1.5)
    assert kept["machine"]["torch"] == "2.6"
    assert "secret" not in str(kept)
    assert len(chart(lines).axes) == 3


HOOKS = "from benchmarks.conftest import pytest_benchmark_group_stats, pytest_terminal_summary"
ROWS = """
import pytest

@pytest.mark.parametrize("group", ["critic"])
def test_ours(benchmark, group):
    benchmark.group = group
    benchmark.pedantic(sum, args=([1],), rounds=2)

def test_limit(benchmark):
    benchmark.group = "critic"
    benchmark.pedantic(sum, args=([1],), rounds=2)

def test_alone(benchmark):
    benchmark.group = "nobody's"
    benchmark.pedantic(sum, args=([1],), rounds=2)
"""


@pytest.mark.parametrize("seconds", [[], ["--benchmark-columns=median"]], ids=["ratios", "columns"])
def test_the_terminal_shows_ratios_and_seconds_where_they_are_asked_for(tmp_path, seconds):
    (tmp_path / "conftest.py").write_text(HOOKS)
    (tmp_path / "test_rows.py").write_text(ROWS)
    options = ["--benchmark-only", "--benchmark-json=rows.json", *seconds]
    # In a worker of pytest-xdist nothing is timed, and this process is no worker.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    printed = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir=.", "-p", "no:cacheprovider", *options],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    lines = [line.split() for line in printed.splitlines()]
    assert ["critic:", "time", "over", "that", "of", "ours", "limit"] in lines
    assert any(line[:2] == ["ours", "1.00"] for line in lines), printed
    assert any(line[:1] == ["limit"] and line[2:] == ["1.00"] for line in lines), printed
    assert "nobody's: no row of ours" in printed
    assert ("Median" in printed) == bool(seconds)
    content = json.loads((tmp_path / "rows.json").read_text())
    assert [line.group for line in lines_of(content["benchmarks"])] == ["critic", "critic"]
    assert len(content["benchmarks"]) == 3


def test_the_limit_is_every_product_forward_and_backward():
    layer = torch.nn.Linear(8, 4)
    inputs = torch.ones(2, 8, requires_grad=True)
    with MatrixProducts() as products:
        layer(inputs).sum().backward()
    # The output, the gradient of the weights, that of the inputs.
    assert len(products) == 3
    assert flops_of(products.run) == 3 * 2 * (2 * 8 * 4)
    # Each reads two and writes one of (2, 8), (8, 4) and (2, 4); the first adds a bias of 4, too.
    assert products.bytes == 4 * (3 * (16 + 32 + 8) + 4)


def test_the_bandwidth_is_that_of_memory():
    # From the slowest board to the fastest accelerator.
    assert 1e8 < bandwidth("cpu", megabytes=64, rounds=2) < 1e14


def test_pairs_are_compared_one_by_one():
    """What slows both of a pair alike leaves their ratio; the interval is of the median."""
    second = [1.0, 5.0, 2.0, 1.0, 3.0] * 20
    ratios = [1.1, 1.2, 1.3, 1.2, 1.2] * 20
    compared = Paired.of([x * y for x, y in zip(second, ratios, strict=True)], second)
    assert compared.ratio == pytest.approx(1.2)
    assert compared.interval == pytest.approx((1.2, 1.2))
    assert compared.seconds[1] == 2.0
    low, high = Paired.of([float(n) for n in range(1, 101)], [1.0] * 100).interval
    # The exact binomial interval of the median of 100 is that of the ranks 40 and 61.
    assert (low, high) == (40, 61)


def test_a_limit_fails_when_it_is_exceeded_in_every_try():
    def nothing() -> None: ...

    tries = iter([False, True])
    held = assert_within(nothing, nothing, 5, lambda x: next(tries), "a limit")
    assert len(held) == 2
    with pytest.raises(AssertionError, match="beyond a limit in 3 of 3 tries"):
        assert_within(nothing, nothing, 5, lambda x: False, "a limit")


def test_steps_take_turns():
    called = []
    time_in_turn(lambda: called.append("a"), lambda: called.append("b"), rounds=4, warm_up=2)
    assert "".join(called) == "baab" * 3


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_step_computes_what_ours_does(name):
    rows = random_rows(64)
    batch = rows.select(torch.arange(32))
    stage = make_stage(name)

    def ours():
        randoms = stage.draw(32, torch.Generator().manual_seed(0))
        stage(batch, randoms)[0].backward()

    ours()  # the first call of an objective checks values, which is no part of a step
    plain = PLAIN[name]()
    assert flops_of(lambda: plain(batch)) == flops_of(ours)
