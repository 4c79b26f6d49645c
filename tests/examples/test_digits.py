"""The example of digits: shrunk, and its recipes under priors that are exact."""

import json

import pytest
import torch

pytest.importorskip("diffusers")

from examples.digits.__main__ import METHODS, distil_classes, restore_all
from examples.digits.data import NULL, Digits, load_digits, split
from examples.digits.distillation import recognised
from examples.digits.inverse import Settings, inpainting, psnr, restore, super_resolution
from examples.digits.network import train_pipeline
from examples.digits.picture import draw
from scoreregs import EmpiricalPrior, GaussianMixturePrior, NetworkPrior, VPSchedule
from scoreregs_diffusers import DiffusersPrior

# Small enough for seconds, enough to be restored.
QUICK = Settings(steps=60, learning_rate=0.1, draws=1, restarts=1)


def blocks(count, seed=0):
    """Stand-ins for digits: class k has its own bright 3x3 block on black, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    images = torch.full((count, 1, 8, 8), -1.0)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 3 * (label // 5), label % 5
        image[0, row : row + 3, column : column + 3] = 1.0
    return Digits(images + 0.05 * torch.randn(images.shape, generator=generator), labels)


def class_prior(digits):
    """The closed-form prior of stand-ins: one narrow Gaussian a class; 10 is their mixture."""
    clean = torch.stack([digits.images[digits.labels == k].mean(0) for k in range(10)])
    schedule = VPSchedule()

    def mixture(labels):
        one_hot = torch.nn.functional.one_hot(labels.clamp(max=9), 10).double()
        weights = torch.where((labels == NULL)[:, None], 0.1, 0.999 * one_hot + 1e-4)
        covariance = 0.01 * torch.eye(64).expand(len(labels), 10, 64, 64)
        return weights / weights.sum(1, True), clean.expand(len(labels), *clean.shape), covariance

    return GaussianMixturePrior.conditional(mixture, schedule)


@pytest.mark.parametrize("make", [lambda x: inpainting(x, seed=0), super_resolution])
def test_red_diff_beats_filling_under_an_exact_prior(make):
    train, test = blocks(200), blocks(20, seed=1)
    problem = make(test.images)
    restored = restore(problem, EmpiricalPrior(train.images, VPSchedule()), None, QUICK, seed=0)
    filled = problem.fill(train.images.mean(0).expand_as(test.images))
    assert psnr(restored, test.images) > psnr(filled, test.images) + 6


def test_gaussian_mean_is_that_of_the_joint_normal():
    # Two pixels of correlation 0.5, one measured: E[x2 | x1] = mu2 + 0.5 (x1 - mu1).
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(40_000, generator=generator)
    second = 0.5 * first + 0.75**0.5 * torch.randn(40_000, generator=generator) + 2.0
    train = torch.stack([first, second], dim=1).reshape(-1, 1, 1, 2)
    image = torch.tensor([[[[1.0, 9.0]]]])
    problem = inpainting(image, seed=0)
    seen = int(problem.operator[0, 0].argmax())
    expected = [[1.0, 2.5], [0.5 * (9.0 - 2.0), 9.0]][seen]
    torch.testing.assert_close(
        problem.gaussian_mean(train).flatten(), torch.tensor(expected), rtol=0, atol=0.05
    )


def test_measurements_are_pixels_and_averages():
    images = blocks(3).images
    half, small = inpainting(images, seed=0), super_resolution(images)
    assert int(half.shown().isnan().sum()) == 3 * 32
    torch.testing.assert_close(half.shown().nan_to_num(0.0), half.fill(torch.zeros_like(images)))
    averages = torch.nn.functional.avg_pool2d(images, 2).flatten(1)
    torch.testing.assert_close(small.measured, averages)
    # Whatever the guess, what is measured of a filled image is what was measured.
    assert small.misfit(small.fill(torch.randn_like(images))).abs().max() < 1e-5


def test_psnr_is_that_of_a_range_of_two():
    assert psnr(torch.full((3, 1, 8, 8), 0.2), torch.zeros(3, 1, 8, 8)) == pytest.approx(20.0)


def test_distilled_images_show_their_class():
    train = blocks(200)
    images, shares = distil_classes(class_prior(train), train, copies=1, steps=60)
    assert shares == dict.fromkeys(METHODS, 1.0)
    assert recognised(images["SDS"], torch.arange(10).roll(1), train) == 0.0


def test_a_saved_pipeline_predicts_what_the_trained_network_does(tmp_path):
    digits = blocks(40)
    unet = train_pipeline(digits, tmp_path, channels=(8, 8), steps=3, batch_size=8).eval()
    loaded = DiffusersPrior.from_pretrained(tmp_path)
    trained = NetworkPrior(
        lambda x_t, t, label: unet(x_t, t, class_labels=label).sample,
        loaded.schedule,
        "v_prediction",
        time_map=lambda t: (1000 * t).round().long() - 1,
    )
    for t in (0.02, 0.5, 0.98):
        torch.testing.assert_close(
            loaded.epsilon(digits.images, t, digits.labels),
            trained.epsilon(digits.images, t, digits.labels),
            rtol=0,
            atol=1e-6,
        )
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    assert config["num_class_embeds"] == NULL + 1


def test_everything_is_drawn(tmp_path):
    train, test = blocks(40), blocks(12, seed=1)
    prior = class_prior(train)
    settings = {
        "inpainting": Settings(steps=2, draws=1, restarts=2),
        "super-resolution": Settings(steps=2, draws=1, restarts=2),
    }
    restored, scores = restore_all(prior, train, test.images, settings)
    assert {"mean-fill", "Gaussian", "RED-diff", "bilinear"} == scores["super-resolution"].keys()
    distilled, _ = distil_classes(prior, train, copies=2, steps=1)
    draw(distilled, restored, scores).savefig(tmp_path / "picture.png")


def test_digits_are_split_without_overlap():
    pytest.importorskip("sklearn")
    digits = load_digits()
    train, validation, test = split(digits, held_out=100, seed=0)
    assert [len(part.images) for part in (train, validation, test)] == [1597, 100, 100]
    together = torch.cat([part.images for part in (train, validation, test)])
    assert together.min() == -1.0
    assert together.max() == 1.0
    torch.testing.assert_close(together.sum(0), digits.images.sum(0))
    # Digit images are all different but for a few: none is held out and trained on.
    seen = {tuple(image.flatten().tolist()) for image in train.images}
    assert sum(tuple(image.flatten().tolist()) in seen for image in test.images) == 0


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        load_digits()
