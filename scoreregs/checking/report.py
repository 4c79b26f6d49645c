"""What check_prior reports."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.checking.readings import Reading
from scoreregs.errors import ArgumentError, MissingDependencyError

__all__ = ["PriorReport"]


@dataclass(frozen=True)
class PriorReport:
    """The denoising error of a prior on data.

    Attributes:
        t: the times.
        log_snr: the log-SNRs of these times.
        error: mean squared error of the predicted noise at each time, per element of an event.
        constant: the error of the best constant: of the noise (zero) or of the data (its mean),
            whichever is better.
        ok: whether the prior beats the constant at every time, and no other reading of it does
            better.
        cause: the likely cause and its remedy where it is not ok, else None.
        reading: the reading that explains the prior where there is a better one, else None;
            channels that are mapped or exchanged are in the cause alone.
        ratio: the error over that of what the cause names, a geometric mean over times; 1 where it
            names nothing.
        rows: how many rows of the data were used.
        seconds: how long the check took; not compared.
    """

    t: tuple[float, ...]
    log_snr: tuple[float, ...]
    error: tuple[float, ...]
    constant: tuple[float, ...]
    ok: bool
    cause: str | None
    reading: Reading | None = field(default=None, compare=False, repr=False)
    ratio: float = 1.0
    rows: int = 0
    seconds: float = field(default=0.0, compare=False)

    @override
    def __str__(self) -> str:
        rows = [
            f"{t:7.4f}  {error:10.4f}  {constant:13.4f}"
            for t, error, constant in zip(self.t, self.error, self.constant, strict=True)
        ]
        used = f"{self.rows} rows, {self.seconds:.2g} s"
        verdict = "ok: plugged in right" if self.ok else f"not ok: {self.cause}"
        return "\n".join(["      t       error  best constant", *rows, used, verdict])

    @named_calls
    def plot(self, path: str | Path | None = None) -> Any:
        """Returns a matplotlib figure of the error by log-SNR beside the best constant's.

        Args:
            path: where to save it too, as PNG, PDF or SVG.

        Raises:
            ArgumentError: for what is no path.
            MissingDependencyError: without matplotlib (extra `plot`).

        Example:
            >>> from scoreregs import GaussianMixturePrior, VPSchedule, check_prior
            >>> import torch
            >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
            >>> data = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
            >>> figure = check_prior(prior, data).plot()
            >>> [line.get_label() for line in figure.axes[0].lines]
            ['prior', 'best constant']
        """
        if not isinstance(path, (str, Path, type(None))):
            raise ArgumentError(
                f"got path of type {type(path).__name__}, expected a name such as 'error.png'"
            )
        try:
            figure_type = importlib.import_module("matplotlib.figure").Figure
        except ImportError as error:
            raise MissingDependencyError("matplotlib", "plot") from error
        figure = figure_type(figsize=(5, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.log_snr, self.error, marker="o", label="prior")
        axes.plot(self.log_snr, self.constant, linestyle="--", color="0.4", label="best constant")
        axes.set(xlabel="log-SNR", ylabel="error of the noise", yscale="log")
        axes.set_title("ok" if self.ok else "not ok", loc="left")
        axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure
