"""Heat maps: numbers as coloured fields, written out where there is room.

Shapes: R rows, C columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis import numbers, style
from mtl_bert.analysis.statistics import Floats

_DARK, _LIGHT = "#111111", "#ffffff"  # on coloured fields: the same by day and by night
_LEAST = 0.05  # the smallest cosine that gets full colour: weaker ones are near nothing
_STEPS = 20  # of a colour bar
_ROOM = 12  # columns whose numbers can be read on half a page


@dataclass(frozen=True)
class Scale:
    """How numbers become colours.

    Attributes:
        colours: a colour map of matplotlib's.
        low: what the first colour stands for.
        high: what the last one stands for.
        text: how a number is written.
    """

    colours: str
    low: float
    high: float
    text: Callable[[float], str]

    def ink(self, value: float) -> str:
        """What can be read on a number's field."""
        red, green, blue, _ = colormaps[self.colours](Normalize(self.low, self.high)(value))
        return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else _LIGHT


SHARES = Scale("Blues", 0, 1, lambda value: f"{value:.2f}")
"""Of something that is neither good nor bad."""
CONFLICTS = Scale("Oranges", 0, 1, lambda value: f"{100 * value:.0f}")
"""The share of steps in conflict, in %."""


def cosines(values: Floats) -> Scale:
    """A scale around 0 that the strongest of some cosines fills."""
    known = np.abs(values[np.isfinite(values)])
    end = max(_LEAST, float(known.max(initial=0)))
    return Scale("RdBu", -end, end, _signed)


def _signed(value: float) -> str:
    """Two decimals, and no sign before 0."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", numbers.MINUS)


def paint_heat(
    axes: Axes, values: Floats, rows: Sequence[str], columns: Sequence[str], scale: Scale
) -> None:
    """Colour a field for each value [R, C]; those that are NaN stay empty."""
    axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=scale.colours, vmin=scale.low, vmax=scale.high,
        edgecolors=style.GRID, linewidth=0.4,
    )  # fmt: skip
    if len(columns) <= _ROOM:
        for row, column in np.argwhere(np.isfinite(values)):
            value = float(values[row, column])
            text = axes.text(
                column + 0.5, row + 0.5, scale.text(value), ha="center", va="center",
                color=scale.ink(value), fontsize=7 if len(columns) <= _ROOM / 2 else 5.5,
            )  # fmt: skip
            text.set_in_layout(False)  # it lies within its field
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0, labelsize=6.5)
    axes.set_ylim(len(rows), 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    places = range(0, len(columns), -(-len(columns) // (2 * _ROOM)))
    axes.set_xticks([place + 0.5 for place in places], [columns[place] for place in places])


def paint_bar(canvas: Canvas, axes: Axes, scale: Scale) -> None:
    """What the colours of a heat map stand for, at its side: in steps, which an SVG can hold."""
    ends = np.linspace(scale.low, scale.high, _STEPS + 1)
    ticks = np.linspace(scale.low, scale.high, 5)
    bar = canvas.colorbar(
        axes.collections[0], ax=axes, boundaries=ends, values=(ends[1:] + ends[:-1]) / 2,
        ticks=list(ticks), pad=0.02, aspect=15, shrink=0.9,
    )  # fmt: skip
    bar.ax.set_yticklabels([scale.text(tick) for tick in ticks.tolist()])
    bar.ax.tick_params(labelsize=6, length=2)
    bar.outline.set_visible(False)
