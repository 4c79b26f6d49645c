"""With w = alpha / sigma at a fixed t_0 and no baseline, Eq. 10's gradient of log mu is recovered.

The expectation is E grad log mu_t0 over a kernel of variance sigma^2(t_0), so the error is of the
first order in sigma^2, and VP's sigma^2 is beta_0 t_0 to the first order in t_0.
"""

import numpy as np
import pytest
import torch

from scoreregs import ScoreRegularizedObjective
from tests.core.ground_truth import MIXTURES, Mixture, central_difference, noise_nodes

TIMES = (4e-5, 2e-5, 1e-5, 5e-6)
BETA = 0.5


def expected_gradient(mixture: Mixture, x: np.ndarray, t: float, **options) -> torch.Tensor:
    noise, share = map(torch.from_numpy, noise_nodes(12, len(x)))
    objective = ScoreRegularizedObjective.from_value(
        lambda x, condition: (x**3).sum(-1), mixture.prior(), beta=BETA, times=t, **options
    )
    samples = torch.from_numpy(x).expand_as(noise)
    return share @ objective(samples, noise=noise).gradient


@pytest.mark.parametrize("name", MIXTURES)
def test_converges_to_equation_10_at_the_first_order(name):
    mixture = MIXTURES[name]
    x = np.array([0.3, -0.2])[: mixture.means.shape[1]]
    log_mu = central_difference(lambda y: float(mixture.log_density(y[None], 1, 0)[0]), x, 1e-3)
    target = -torch.from_numpy(3 * x**2 + log_mu / BETA)
    errors = [
        torch.linalg.vector_norm(
            expected_gradient(mixture, x, t, weighting="alpha_over_sigma", baseline="none") - target
        ).item()
        for t in TIMES
    ]
    orders = np.diff(np.log(errors)) / np.diff(np.log(TIMES))
    assert errors[-1] < 1e-4
    np.testing.assert_allclose(orders, 1, atol=0.01)


def test_a_weight_of_one_vanishes_in_that_limit():
    """Eq. 15 with a delta weight alone does not give Eq. 10: the factor alpha / sigma is needed."""
    mixture = MIXTURES["1-D multimodal"]
    gradient = expected_gradient(mixture, np.array([0.3]), 1e-8, weighting="uniform")
    torch.testing.assert_close(
        gradient, torch.tensor([-3 * 0.3**2], dtype=torch.float64), rtol=0, atol=1e-3
    )
