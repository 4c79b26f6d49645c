"""The figure: distilled digits above, restored ones below."""

from collections.abc import Mapping

from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from examples.digits.data import CLASSES


def draw(
    distilled: Mapping[str, Tensor],
    restored: Mapping[str, Mapping[str, Tensor]],
    scores: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Returns a figure of rows of images.

    Args:
        distilled: for each method at least two images of the digits 0 to 9, each ten in order.
        restored: for each problem and row, images (count, 1, 8, 8), of which ten are shown.
        scores: for each problem and row that has one, its PSNR in dB.
    """
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    above, below = figure.subfigures(2, 2, squeeze=False, height_ratios=(1, 2.1))
    for column, (method, images) in zip(above, distilled.items(), strict=True):
        column.suptitle(f"{method}: an image of each class")
        rows = {"": images[:CLASSES], " ": images[CLASSES : 2 * CLASSES]}
        _draw_rows(column, rows)
    for column, (problem, by_row) in zip(below, restored.items(), strict=True):
        column.suptitle(f"{problem}: PSNR over {len(next(iter(by_row.values())))} test images")
        found = scores[problem]
        labels = {row: f"{row}\n{found[row]:.1f} dB" if row in found else row for row in by_row}
        _draw_rows(column, {labels[row]: images[:CLASSES] for row, images in by_row.items()})
    return figure


def _draw_rows(figure: SubFigure, rows: Mapping[str, Tensor]) -> None:
    grid = figure.subplots(len(rows), CLASSES, squeeze=False)
    for axes, (label, images) in zip(grid, rows.items(), strict=True):
        for axis, image in zip(axes, images, strict=False):
            axis.imshow(image[0], cmap="gray_r", vmin=-1, vmax=1)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.set_facecolor("#56B4E9")  # of pixels that are NaN: nothing is known of them
        axes[0].set_ylabel(
            label, rotation=0, horizontalalignment="right", verticalalignment="center"
        )
