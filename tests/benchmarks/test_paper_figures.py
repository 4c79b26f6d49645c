"""The paper's figures: densities against quadrature, optima against closed forms, every entry."""

import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.paper import __main__ as command
from benchmarks.quality.paper import offline_rl
from benchmarks.quality.paper.climb import as_eq_10, climb
from benchmarks.quality.paper.figure_2 import bandit
from benchmarks.quality.paper.figure_2.policies import weighted_gaussian
from benchmarks.quality.paper.figures_3_and_7.experiment import optimise
from benchmarks.quality.paper.models import Fit, SideBySide, fit
from benchmarks.quality.paper.outcome import Outcome, load, save
from benchmarks.quality.paper.propositions import proposition_1, proposition_2
from benchmarks.quality.paper.propositions.mixtures import BEHAVIOR, Mixture, dirac, divergence
from benchmarks.quality.paper.targets import Target, eight_gaussians, share_outside, targets
from scoreregs import GaussianMixturePrior, NetworkPrior, VPSchedule
from scoreregs.probability_flow import log_density
from tests.core.ground_truth import MIXTURES, KullbackLeibler, regulariser_gradient

VP = VPSchedule()
ROOT = Path(__file__).resolve().parents[2]
NAMED = pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


class TestTargets:
    @NAMED
    def test_density_integrates_to_one(self, target):
        """The trapezoidal rule, a step to a standard deviation: exact to 1e-8 for Gaussians."""
        step = target.scale
        axis = torch.arange(-5.5, 5.5, step, dtype=torch.float64)
        density = target.log_density(torch.cartesian_prod(axis, axis)).exp()
        assert density.sum().item() * step**2 == pytest.approx(1, abs=1e-6)

    @NAMED
    def test_samples_are_of_the_density(self, target):
        """The mean log-density of samples is that of the density, and so is a moment."""
        step = target.scale
        axis = torch.arange(-5.5, 5.5, step, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        found = target.log_density(grid)
        samples = target.sample(20_000, seed()).double()
        for of_grid, of_samples in (
            (found, target.log_density(samples)),
            (grid[:, 0] * grid[:, 1], samples.prod(1)),
        ):
            expected = (found.exp() * of_grid).sum() * step**2
            error = of_samples.std() / len(samples) ** 0.5
            assert abs(of_samples.mean() - expected) < 4 * error

    @NAMED
    def test_one_in_a_hundred_samples_is_outside_the_support(self, target):
        threshold = target.threshold(seed(1), 20_000)
        assert share_outside(target, target.sample(20_000, seed(2)), threshold) == pytest.approx(
            0.01, abs=0.002
        )

    def test_threshold_of_a_gaussian(self):
        """Its 99 % region is a disc of radius sqrt(2 log 100) standard deviations."""
        target = Target("one", torch.zeros(1, 2), 0.5)
        expected = -math.log(100) - math.log(2 * math.pi * 0.25)
        assert target.threshold(seed()) == pytest.approx(expected, abs=0.05)

    def test_share_of_known_points(self):
        target = eight_gaussians()
        threshold = target.threshold(seed())
        assert share_outside(target, target.nodes, threshold) == 0
        centre = torch.zeros(1, 2)
        assert share_outside(target, centre, threshold) == 1
        assert share_outside(target, torch.cat([target.nodes[:3], centre]), threshold) == 0.25

    def test_checkerboard_is_flat_inside_and_empty_between(self):
        board = next(target for target in targets() if target.name == "checkerboard")
        axis = torch.linspace(0.5, 1.5, 21)
        inside = board.log_density(torch.cartesian_prod(axis, axis))
        assert (inside - math.log(1 / 32)).abs().max() < 0.02
        assert board.log_density(torch.tensor([[1.0, -1.0]])) < -20


class TestModels:
    def test_a_member_is_its_part_of_the_whole(self):
        network = SideBySide(3, 16, seed())
        x_t = torch.randn(5, 3, 2, generator=seed())
        t = torch.full((5,), 0.3)
        whole = network(x_t, t, None)
        for member in range(3):
            alone = network.prior_of(member).predict(x_t[:, member], t)
            torch.testing.assert_close(alone, whole[:, member])

    def test_members_do_not_see_each_other(self):
        network = SideBySide(2, 16, seed())
        x_t = torch.randn(4, 2, 2, generator=seed()).requires_grad_()
        (slope,) = torch.autograd.grad(network(x_t, torch.full((4,), 0.3), None)[:, 0].sum(), x_t)
        assert (slope[:, 1] == 0).all()
        assert (slope[:, 0] != 0).any()

    def test_each_member_learns_its_own_density(self):
        near, far = Target("", torch.zeros(1, 2), 1.0), Target("", torch.full((1, 2), 2.0), 0.5)
        data = [target.sample(2000, seed()) for target in (near, far)]
        network = fit(data, Fit(32, 400, 256), seed())
        for member, target in enumerate((near, far)):
            x = target.sample(200, seed(1))
            model = log_density(network.prior_of(member), x, tolerance=1e-3)
            assert (target.log_density(x) - model).mean().abs() < 0.15


class TestClimb:
    MEAN, VARIANCE = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), 0.3

    def prior(self) -> NetworkPrior:
        """Two Gaussians side by side, their scores exact."""
        members = [
            GaussianMixturePrior([1.0], mean[None], self.VARIANCE * torch.eye(2)[None], VP)
            for mean in self.MEAN
        ]

        def network(x_t, t, condition):
            return torch.stack([m.score(x_t[:, i], t) for i, m in enumerate(members)], dim=1)

        return NetworkPrior(network, VP, "score")

    def test_without_a_prior_actions_reach_the_maximum(self):
        centres = torch.tensor([[-3.0, 2.0], [1.0, 1.0], [4.0, -4.0]])
        found = optimise(
            self.prior(),
            centres,
            torch.zeros(1),
            members=2,
            steps=400,
            start=torch.zeros(3, 2),
        )
        torch.testing.assert_close(
            found, centres[None, :, None].expand(1, 3, 2, 2), rtol=0, atol=1e-2
        )

    def test_the_optimum_under_a_gaussian_is_the_closed_form(self):
        """2 (c - a) = (1 / beta) alpha^2 (a - m) / (alpha^2 v + sigma^2) for Eq. 10 at t."""
        centres = torch.tensor([[-1.0, 2.0], [1.0, 1.0]])
        inverse_betas = torch.tensor([0.1, 1.0])
        found = optimise(self.prior(), centres, inverse_betas, members=2, steps=500)
        alpha, sigma = VP(torch.tensor(0.02).double())
        pull = inverse_betas * (alpha**2 / (alpha**2 * self.VARIANCE + sigma**2)).item()
        pull = pull[:, None, None, None]
        expected = (2 * centres[:, None] + pull * self.MEAN) / (2 + pull)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)

    def test_more_regularisation_is_nearer_to_the_data(self):
        found = optimise(
            self.prior(), torch.tensor([[-3.0, 3.0]]), torch.tensor([0.0, 0.1, 1.0]), members=2,
            steps=300,
        )  # fmt: skip
        distance = (found - self.MEAN).norm(dim=-1)
        assert (distance.diff(dim=0) < 0).all()

    def test_the_start_is_left_alone(self):
        start = torch.ones(2, 1, 2)
        objective = as_eq_10(lambda x, c: x.sum((-1, -2)), SideBySide(1, 8, seed()).prior())
        climb(objective, start, None, beta=torch.ones(2), steps=2)
        assert (start == 1).all()


class TestBandit:
    def test_weighted_gaussian_of_a_tilted_normal(self):
        """Weights exp(b x_1) move N(0, I) to N(b e_1, I)."""
        x = torch.randn(400_000, 2, generator=seed()).double()
        mean, covariance = weighted_gaussian(x, torch.exp(0.7 * x[:, 0]))
        torch.testing.assert_close(mean, torch.tensor([0.7, 0.0]).double(), rtol=0, atol=0.01)
        torch.testing.assert_close(covariance, torch.eye(2).double(), rtol=0, atol=0.02)

    def test_the_peaks_of_the_value_lie_off_the_data(self):
        target = eight_gaussians()
        peaks = torch.stack([bandit.PEAK, -bandit.PEAK])
        assert share_outside(target, peaks, target.threshold(seed())) == 1
        assert (bandit.value(peaks) > bandit.value(target.nodes).max()).all()


class TestPropositions:
    def test_divergence_is_that_of_another_quadrature(self):
        mixture = MIXTURES["1-D multimodal"]
        behavior = Mixture(
            torch.from_numpy(mixture.weights),
            torch.from_numpy(mixture.means[:, 0]),
            torch.from_numpy(mixture.covariances[:, 0, 0]).sqrt(),
        )
        for t in (0.05, 0.4, 0.9):
            expected = KullbackLeibler(mixture, t, np.array([0.3]))(np.array([0.3]))
            found = divergence(dirac(torch.tensor([0.3]).double()), behavior, t)
            assert found.item() == pytest.approx(expected, rel=1e-6)

    def test_a_family_with_the_behavior_in_it_finds_it_at_every_time(self):
        family, starts = proposition_1.STARTS["two Gaussians"]
        behavior = BEHAVIOR
        for t in (0.02, 0.2, 0.4):
            best = proposition_1.minimiser(family, starts, behavior, t)
            torch.testing.assert_close(best.means, behavior.means, rtol=0, atol=1e-4)
            torch.testing.assert_close(best.weights, behavior.weights, rtol=0, atol=1e-4)
            torch.testing.assert_close(best.stds, behavior.stds, rtol=0, atol=1e-4)

    def test_a_dirac_policy_moves_from_a_mode_to_the_mean(self):
        family, starts = proposition_1.STARTS["Dirac"]
        behavior = BEHAVIOR
        early, late = (
            proposition_1.minimiser(family, starts, behavior, t).means.item() for t in (0.02, 0.98)
        )
        axis = torch.linspace(-2, 2, 4001).double()
        mode = axis[behavior.log_density(axis, 1.0, 0.0).argmax()].item()
        assert early == pytest.approx(mode, abs=0.01)
        assert late == pytest.approx(behavior.mean, abs=0.01)

    def test_a_dirac_policy_stays_where_the_behavior_is_one_gaussian(self):
        family, starts = proposition_1.STARTS["Dirac"]
        single = Mixture.of((1.0,), (0.4,), (0.5,))
        for t in (0.02, 0.5, 0.98):
            found = proposition_1.minimiser(family, starts, single, t).means.item()
            assert found == pytest.approx(0.4, abs=1e-5)

    @pytest.mark.parametrize("weighting", proposition_2.WEIGHTINGS)
    def test_both_gradients_are_that_of_another_quadrature(self, weighting):
        mixture = MIXTURES["1-D unimodal"]
        behavior = Mixture.of((1.0,), (0.4,), (0.5,))
        action = torch.tensor([-0.2]).double()
        expected = regulariser_gradient(
            mixture, action.numpy(), proposition_2.WEIGHTINGS[weighting], 24
        )[0]
        for found in proposition_2.regulariser_gradients(
            action, behavior, behavior.prior(), weighting, 24
        ):
            assert found.item() == pytest.approx(expected, rel=1e-6)

    def test_gradients_in_the_std_of_a_standard_normal(self):
        """Per time w sigma alpha s (1 - 1/v) and w sigma alpha s, v = alpha^2 s^2 + sigma^2."""
        stds = torch.tensor([0.3, 1.0, 1.4]).double()
        standard = Mixture.of((1.0,), (0.0,), (1.0,))
        true, surrogate = proposition_2.gradients_in_std(stds, standard, 24)
        nodes, weights = np.polynomial.legendre.leggauss(64)
        alpha, sigma = VP(torch.from_numpy(0.5 + 0.48 * nodes))
        factor = torch.from_numpy(weights / 2) * sigma**3 * alpha
        v = alpha**2 * stds[:, None] ** 2 + sigma**2
        torch.testing.assert_close(true, stds * ((1 - 1 / v) @ factor), rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(surrogate, stds * factor.sum(), rtol=1e-5, atol=0)

    @pytest.mark.parametrize(
        ("weighting", "expected"), [("sigma2", 0.027), ("uniform", 0.28), ("alpha_over_sigma", 39)]
    )
    def test_variance_ratio_of_a_standard_normal(self, weighting, expected):
        prior = Mixture.of((1.0,), (0.0,), (1.0,)).prior()
        found = proposition_2.variance_ratio(0.0, prior, weighting, 200)
        assert found == pytest.approx(expected, rel=0.05)


def test_outcome_comes_back(tmp_path):
    outcome = Outcome({"a": 1.5}, {"points": {"name": ["p", "q"], "x": [1.0, -2.5]}})
    save(outcome, tmp_path, "figure", {"seed": 0})
    found = load(tmp_path, "figure")
    assert found == outcome


def offline_rl_words(name, folder):
    """What only the figures that train policies need."""
    if not isinstance(command.FIGURES[name].QUICK, offline_rl.Budget):
        return []
    return ["--data", "pendulum-swingup", "--run-dir", str(folder / "runs")]


def test_integers_of_a_table_are_whole(tmp_path):
    """Five significant digits are for what was measured: a step or a count has all of its own."""
    table = {"step": [62_831_853, 1_500_000], "x": [math.pi * 1e4, 1_500_000.0]}
    save(Outcome({}, {"points": table}), tmp_path, "figure", {})
    lines = (tmp_path / "figure-points.csv").read_text().splitlines()
    assert lines == ["step,x", "62831853,31416", "1500000,1.5e+06"]


@pytest.mark.parametrize("name", command.FIGURES)
def test_every_figure_is_computed_and_drawn_again(name, tmp_path, monkeypatch, capsys):
    results, pictures = tmp_path / "results", tmp_path / "pictures"
    folders = ["--results", str(results), "--pictures", str(pictures)]
    command.main([name, "--quick", *folders, *offline_rl_words(name, tmp_path)])
    about = (results / f"{name}.json").read_text()
    assert str(tmp_path) not in about
    assert all(f'"{key}"' in about for key in ("command", "seed", "versions", "machine", "budget"))
    drawn = {path.name: path.read_bytes() for path in pictures.iterdir()}
    assert drawn
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
    for path in pictures.iterdir():
        path.unlink()
    monkeypatch.setattr(command.FIGURES[name], "measure", None)
    table = capsys.readouterr().out.split("wrote")[0]
    command.main([name, "--redraw", *folders])
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == drawn
    assert capsys.readouterr().out.split("wrote")[0] == table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["figure-99"], "got 'figure-99', expected one of figure-2"),
        (["figure-2", "--quick"], "got --quick without --results and --pictures"),
        (["figure-6"], "got --data (without folder and ending) without a value"),
        (["figure-6", "--data", "pendulum-swingup"], "got no --run-dir"),
        (["figure-9", "--run-dir", "runs", "--data", "a/x.hdf5", "b/x.hdf5"], "ending) x x"),
        (["figure-9", "--run-dir", "runs", "--data", "missing.hdf5"], "missing.hdf5"),
        (["figure-2", "--redraw", "--results", "none"], "by the same command without --redraw"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    printed, told = capsys.readouterr()
    assert not printed
    assert told.startswith("error: ")
    assert message in told
    assert not list(tmp_path.iterdir())


def test_an_interrupt_says_that_nothing_is_kept(tmp_path, monkeypatch, capsys):
    def interrupted(budget, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.FIGURES["figure-8"], "measure", interrupted)
    folders = ["--results", str(tmp_path), "--pictures", str(tmp_path)]
    with pytest.raises(SystemExit, match=str(128 + signal.SIGINT)):
        command.main(["figure-8", "--quick", *folders])
    assert "nothing is kept, the same command starts over" in capsys.readouterr().err


@pytest.mark.parametrize("name", command.FIGURES)
def test_a_page_has_the_committed_numbers_and_pictures(name):
    """What a page says is what the results say, and each of its pictures is there."""
    module = command.FIGURES[name]
    page = (ROOT / "docs/paper" / f"{name}.md").read_text()
    assert f"python -m benchmarks.quality.paper {name}" in page
    outcome = load(ROOT / "benchmarks/results/paper", name)
    assert module.table(outcome) in page
    for picture in module.draw(outcome):
        assert f"../images/paper/{picture}.png" in page
        assert (ROOT / "docs/images/paper" / f"{picture}.png").exists()
