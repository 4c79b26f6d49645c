"""Mish with one exponential against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from scoreregs_offline_rl.stages.mish import mish

POINTS = torch.cat([torch.linspace(-60, 60, 2401), torch.tensor([-1e4, -1e-8, 0.0, 1e-8, 1e4])])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 5e-7)])
def test_it_is_mish(dtype: torch.dtype, tolerance: float) -> None:
    x = POINTS.to(dtype)
    exact = F.mish(POINTS.double())
    # Relative, but for the far left, where the value is the smallest there is.
    torch.testing.assert_close(mish(x).double(), exact, rtol=tolerance, atol=1e-20)


def test_its_gradient_is_that_of_mish() -> None:
    ours, theirs = (POINTS.double().requires_grad_() for _ in range(2))
    weights = torch.linspace(1, 2, len(POINTS), dtype=torch.float64)
    (mish(ours) * weights).sum().backward()
    (F.mish(theirs) * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-14)


def test_half_precision_is_rounded_once() -> None:
    x = POINTS.bfloat16()
    exact = F.mish(x.float())
    torch.testing.assert_close(mish(x).float(), exact, rtol=2**-7, atol=1e-6)


def test_it_leaves_its_input_alone() -> None:
    x = POINTS.clone()
    mish(x)
    assert torch.equal(x, POINTS)


def test_a_second_derivative_is_refused() -> None:
    x = torch.ones(1, requires_grad=True)
    (gradient,) = torch.autograd.grad(mish(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(gradient.sum(), x)
