"""Curves of several metrics against one thing, a panel for each metric.

Shapes: S seeds of a method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import Legend, Words, draw, log_axis
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.style import Look

SPREAD = "Bars or bands: ± one standard deviation over seeds, where there are several."


@dataclass(frozen=True)
class Curve:
    """A method along x.

    Attributes:
        label: in the legend.
        look: of its line.
        points: x in rising order, and what was measured there over seeds: metric -> [S].
    """

    label: str
    look: Look
    points: Sequence[tuple[float, Mapping[str, Floats]]]

    def paint(self, axes: Axes, what: str) -> None:
        """Mean and spread of a metric."""
        x = [place for place, _ in self.points]
        mean = np.array([float(values[what].mean()) for _, values in self.points])
        sd = np.array([spread(values[what]) or 0.0 for _, values in self.points])
        axes.plot(
            x, mean, color=self.look.colour, linestyle=self.look.line, marker=self.look.marker,
            markerfacecolor=self.look.fill, label=self.label,
        )  # fmt: skip
        axes.fill_between(x, mean - sd, mean + sd, color=self.look.colour, alpha=0.15, linewidth=0)


def panels_figure(
    words: Words, whats: Mapping[str, str], curves: Sequence[Curve], xlabel: str, *, log: bool
) -> Figure:
    """A panel for each metric, two side by side.

    Args:
        words: what is said about the figure.
        whats: metric -> the label of its axis.
        curves: the same in each panel.
        xlabel: what they go along.
        log: whether that is on a logarithmic scale.
    """
    rows = (len(whats) + 1) // 2
    legend = Legend(tuple(curve.label for curve in curves))
    places = [x for curve in curves for x, _ in curve.points]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(rows, 2, squeeze=False, sharex=True).flatten()
        for axes, (what, ylabel) in zip(panels, whats.items(), strict=False):
            for curve in curves:
                curve.paint(axes, what)
            axes.set(ylabel=ylabel, title=what)
            if log:
                log_axis(axes, min(places), max(places))
        for axes in panels[len(whats) :]:
            axes.set_visible(False)
        for axes in panels[: len(whats)][-2:]:
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        legend.paint(canvas, panels[0])

    return draw(words, paint, height=1.75 * rows + 0.3 + legend.height)
