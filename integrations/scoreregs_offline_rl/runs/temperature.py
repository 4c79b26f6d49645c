"""The temperature of a run that is given none: policies are trained, and the prior chooses."""

import logging
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.verdict import LEAST_ORDER, NEAR
from scoreregs_offline_rl.training.lost_members import DivergedError
from scoreregs_offline_rl.training.trainer import Trainer

__all__ = ["choose_beta", "largest_near"]

logger = logging.getLogger(__name__)

Trial = Callable[[float, Trainer, RunDirectory], float]


def choose_beta(
    choices: Sequence[float],
    order: float,
    directory: RunDirectory,
    trainer: Trainer,
    trial: Trial,
) -> tuple[float, Trainer]:
    """Returns the temperature to take, and a trainer for the policies that follow it.

    Of a critic that cannot tell the data's better actions it is the smallest, without a trial.
    It is written into the run's directory, so that the run goes on with it from then on. Nothing
    else is kept of the trials: a run that is stopped in one has it again.

    Args:
        choices: two or more, rising.
        order: `return_order` of the critic, as of `Verdict`.
        directory: of the run.
        trainer: of the run.
        trial: trains policies at one, by a trainer, in a directory, and returns how far they are
            from the data (`prior_error_excess`).
    """
    excess: dict[float, float | None] = {}
    start, times = time.perf_counter(), len(choices)

    def excess_at(beta: float) -> float:
        own = trainer.nth_of(times, len(excess), trial=True)
        with TemporaryDirectory() as folder:
            try:
                found = trainer.of_main(trial(beta, own, RunDirectory(folder, directory.kind)))
            except DivergedError as error:
                logger.info("beta %g: %s", beta, error)
                excess[beta] = None
                return float("inf")
        excess[beta] = found
        return found

    beta, order = choices[0], trainer.of_main(order)
    if order < LEAST_ORDER:
        logger.info(
            "the critic's order of the data's actions has a rank correlation of %.2f with the "
            "returns that followed, larger temperatures than beta %g are tried from %g",
            *(order, beta, LEAST_ORDER),
        )
    else:
        beta = largest_near(choices, excess_at)
    seconds = time.perf_counter() - start
    trainer.on_main(lambda: directory.keep_beta(beta, excess, seconds))
    return beta, trainer.nth_of(times, len(excess), trial=False)


def largest_near(choices: Sequence[float], excess_at: Callable[[float], float]) -> float:
    """Returns the largest temperature up to which policies stay near the data.

    The smallest is taken on trust, and those beyond the first that is too far are not tried.

    Args:
        choices: two or more, rising.
        excess_at: returns `prior_error_excess` at one.

    Example:
        >>> largest_near((0.03, 0.1, 0.3), {0.1: 0.01, 0.3: 0.2}.__getitem__)
        0.1
        >>> largest_near((0.03, 0.1, 0.3), {0.1: 0.5}.__getitem__)
        0.03
    """
    kept = choices[0]
    for beta in choices[1:]:
        excess = excess_at(beta)
        near = excess <= NEAR
        then = "near enough" if near else f"too far, {kept:g} is taken"
        logger.info(
            "beta %g: the behavior model's error at the policy's actions is %.1f%% above that at "
            "the clone's, %s",
            *(beta, 100 * excess, then),
        )
        if not near:
            break
        kept = beta
    return kept
