"""The kinds of figures: panels of lines with bands, and heat maps, both drawn from frames."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import GRID, Look, draw, legend, logarithmic
from mtl_bert.analysis.numbers import MINUS

SPREAD = "Bars or bands: ± one standard deviation over seeds, where there are several."
POINTS = ["panel", "series", "x", "y"]
"""Columns of a frame of points; several of the same x are repetitions."""


def lines_figure(
    figure: Figure,
    points: pd.DataFrame,
    looks: Mapping[str, Look],
    ylabels: Mapping[str, str],
    xlabel: str,
    *,
    log: bool = False,
    files: bool = True,
) -> Figure:
    """A panel of lines for each metric, two side by side, with bands of one standard deviation.

    Args:
        figure: what is said about it.
        points: a frame of :data:`POINTS`.
        looks: series -> its look.
        ylabels: panel -> the label of its axis, in the order of the panels.
        xlabel: what the lines go along.
        log: whether x is on a logarithmic scale.
        files: see :func:`~mtl_bert.analysis.figures.canvas.draw`.
    """
    means = points.groupby(POINTS[:3])["y"].agg(["mean", "std"]).fillna(0.0).reset_index("x")
    columns = min(2, len(ylabels))
    rows = -(-len(ylabels) // columns)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False).flatten()
        for axes, (panel, ylabel) in zip(panels, ylabels.items(), strict=False):
            for series, look in looks.items():
                if (panel, series) in means.index:
                    _line(axes, means.loc[[(panel, series)]], series, look)
            axes.set(ylabel=ylabel, title=panel if len(ylabels) > 1 else "", xlabel=xlabel)
            if log:
                axes.set_xscale("log")
                logarithmic(axes.xaxis)
            else:
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=points["x"].dtype.kind == "i"))
        for axes in panels[len(ylabels) :]:
            axes.set_visible(False)
        legend(canvas, max(panels, key=lambda axes: len(axes.get_lines())))

    return draw(figure, paint, max(1.85 * rows, 2.6), files=files)


def _line(axes: Axes, points: pd.DataFrame, label: str, look: Look) -> None:
    x, mean, sd = (points[name].to_numpy() for name in ("x", "mean", "std"))
    every = max(1, len(points) // 10)
    axes.plot(x, mean, linestyle=look.line, label=label, markevery=every, **look.marks)
    axes.fill_between(x, mean - sd, mean + sd, color=look.colour, alpha=0.15, linewidth=0)


def heat_map(
    axes: Axes, values: pd.DataFrame, colours: str, low: float, high: float, digits: int = 2
) -> None:
    """Colour and write out a field for each number of a frame; NaN stays empty."""
    field, colour = values.to_numpy(float), mpl.colormaps[colours]
    axes.pcolormesh(
        np.ma.masked_invalid(field), cmap=colours, vmin=low, vmax=high, edgecolors=GRID,
        linewidth=0.4,
    )  # fmt: skip
    for row, column in np.argwhere(np.isfinite(field)):
        value = float(field[row, column])
        red, green, blue, _ = colour((value - low) / (high - low))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)  # no −0
        axes.text(
            column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5,
            color="#111111" if bright else "#ffffff",  # by day and by night
        ).set_in_layout(False)  # fmt: skip
    rows(axes, list(values.index))
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, list(values.columns))
    axes.tick_params(length=0, labelsize=6.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a heat map, or of bars beside one, from above."""
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_ylim(len(names), 0)
