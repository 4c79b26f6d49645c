"""deepinv's own samplers and its plug-and-play method, on problems as operators of its own."""

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.inverse.methods import Method
from benchmarks.quality.inverse.prior import denoise_unit
from benchmarks.quality.inverse.problems import Problem
from scoreregs import ScorePrior

__all__ = ["deepinv_denoiser", "deepinv_methods", "deepinv_physics"]


def deepinv_methods(prior: ScorePrior, evaluations: int) -> dict[str, Method]:
    """Returns deepinv's methods under the same prior, by name.

    What is not named here is as its documentation has it. DPS, PiGDM and moment matching follow
    its variance-preserving SDE by its DDPM solver, which is what its DPS does.

    Args:
        prior: of images in [-1, 1], on rectified flow.
        evaluations: of the prior's network for an image; DPIR always has eight.

    Raises:
        ImportError: without deepinv.
    """
    dinv = importlib.import_module("deepinv")
    denoiser = deepinv_denoiser(prior)
    l2 = dinv.optim.data_fidelity.L2()

    def by_ddrm(problem: Problem, strength: float, seed: int) -> Tensor:
        sigmas = np.linspace(1, 0, evaluations)
        model = dinv.sampling.DDRM(denoiser, sigmas=sigmas, eta=strength)
        return _seeded(model, problem, seed)

    def by_diffpir(problem: Problem, strength: float, seed: int) -> Tensor:
        model = dinv.sampling.DiffPIR(
            denoiser, l2, sigma=problem.noise, max_iter=evaluations, lambda_=strength
        )
        return _seeded(model, problem, seed)

    def by_dps(problem: Problem, strength: float, seed: int) -> Tensor:
        model = dinv.sampling.DPS(denoiser, num_steps=evaluations + 1, weight=strength)
        return _seeded(model, problem, seed)

    def by_guidance(fidelity: Any, problem: Problem, seed: int) -> Tensor:
        times = torch.linspace(1, 0, evaluations + 1, dtype=torch.float64)
        model = dinv.sampling.PosteriorDiffusion(
            data_fidelity=fidelity,
            denoiser=denoiser,
            sde=dinv.sampling.VariancePreservingDiffusion(alpha=1.0),
            solver=dinv.sampling.DDPMSolver(timesteps=times),
        )
        return _seeded(model, problem, seed)

    def by_pigdm(problem: Problem, strength: float, seed: int) -> Tensor:
        fidelity = dinv.sampling.PiGDMDataFidelity(denoiser, weight=strength)
        return by_guidance(fidelity, problem, seed)

    def by_moments(problem: Problem, strength: float, seed: int) -> Tensor:
        fidelity = dinv.sampling.MomentMatchingDataFidelity(denoiser, weight=strength)
        return by_guidance(fidelity, problem, seed)

    def by_dpir(problem: Problem, strength: float, seed: int) -> Tensor:
        return _seeded(dinv.optim.DPIR(sigma=problem.noise, denoiser=denoiser), problem, seed)

    return {
        "DDRM": Method("eta", (0.5, 0.7, 0.85, 0.95, 1.0), by_ddrm),
        "DiffPIR": Method("lambda_", (0.3, 1.0, 3.0, 7.0, 25.0), by_diffpir),
        "DPS": Method("weight", (1.0, 32.0, 64.0, 128.0, 256.0), by_dps),
        "PiGDM": Method("weight", (1.0, 2.0, 4.0, 8.0, 16.0), by_pigdm),
        "moment matching": Method("weight", (0.5, 1.0, 2.0, 4.0, 8.0), by_moments),
        "DPIR": Method("none", (0.0,), by_dpir),
    }


def deepinv_denoiser(prior: ScorePrior) -> Any:
    """Returns the prior as deepinv wants it: D(x, sigma) on images in [0, 1]."""
    base: Any = importlib.import_module("deepinv").models.Denoiser

    class Denoiser(base):
        """The prior, at any of the forms of a noise level that deepinv has."""

        def forward(self, x: Tensor, sigma: float | Tensor, **options: Any) -> Tensor:
            levels = self._handle_sigma(sigma, batch_size=len(x))
            return denoise_unit(prior, x, levels)

    return Denoiser()


def deepinv_physics(problem: Problem) -> Any:
    """Returns the operator and noise as deepinv's, by singular values, as DDRM wants them."""
    dinv = importlib.import_module("deepinv")
    left, values, right = torch.linalg.svd(problem.operator)
    count, pixels = problem.operator.shape
    return dinv.physics.DecomposablePhysics(
        U=lambda spectrum: spectrum[:, :count] @ left.T,
        U_adjoint=lambda y: torch.nn.functional.pad(y @ left, (0, pixels - count)),
        V=lambda spectrum: (spectrum @ right).reshape(-1, 1, 8, 8),
        V_adjoint=lambda x: x.flatten(1) @ right.T,
        mask=torch.nn.functional.pad(values, (0, pixels - count))[None],
        noise_model=dinv.physics.GaussianNoise(problem.noise),
    )


def _seeded(model: Any, problem: Problem, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model(problem.measured, deepinv_physics(problem)).detach().float()
