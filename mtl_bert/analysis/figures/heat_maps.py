"""Heat maps of what tasks do to each other: over epochs, by part of the encoder, by method.

Shapes: E epochs, M methods, P pairs, R rows, C columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures import style
from mtl_bert.analysis.figures.canvas import Words, draw
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.studies import Subject
from mtl_bert.runs.results import PairConflict

if TYPE_CHECKING:  # what is drawn, by the module that has these drawn
    from mtl_bert.analysis.gradient_conflicts import Joint, Layers

COSINES, SHARES = "mean cosine", "% of steps in conflict"
COLOURS = "Red: gradients point against each other on average; blue: the same way."
HOW = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
)
_ROW = 0.23  # inches
_DARK, _LIGHT = "#111111", "#ffffff"  # on coloured fields: the same by day and by night
_LEAST = 0.05  # the smallest cosine that gets full colour: weaker ones are near nothing
_STEPS = 20  # of a colour bar
_ROOM = 12  # columns whose numbers can be read on half a page


@dataclass(frozen=True)
class Colours:
    """How numbers become colours.

    Attributes:
        name: of a colour map of matplotlib's.
        low: what the first colour stands for.
        high: what the last one stands for.
        text: how a number is written.
    """

    name: str
    low: float
    high: float
    text: Callable[[float], str]

    def ink(self, value: float) -> str:
        """What can be read on a number's field."""
        red, green, blue, _ = colormaps[self.name](Normalize(self.low, self.high)(value))
        return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else _LIGHT


CONFLICTS = Colours("Oranges", 0, 1, lambda value: f"{100 * value:.0f}")
"""The share of steps in conflict, in %."""


def cosines(values: Floats) -> Colours:
    """Colours around 0 that the strongest of some cosines fills."""
    known = np.abs(values[np.isfinite(values)])
    end = max(_LEAST, float(known.max(initial=0)))
    signed: Callable[[float], str] = lambda value: (  # noqa: E731 - no sign before 0
        f"{round(value, 2) + 0.0:.2f}".replace("-", numbers.MINUS)
    )
    return Colours("RdBu", -end, end, signed)


def paint_heat(
    axes: Axes, values: Floats, rows: Sequence[str], columns: Sequence[str], colours: Colours
) -> None:
    """Colour a field for each value [R, C], written out where there is room; NaN stays empty."""
    axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=colours.name, vmin=colours.low, vmax=colours.high,
        edgecolors=style.GRID, linewidth=0.4,
    )  # fmt: skip
    if len(columns) <= _ROOM:
        for row, column in np.argwhere(np.isfinite(values)):
            value = float(values[row, column])
            text = axes.text(
                column + 0.5, row + 0.5, colours.text(value), ha="center", va="center",
                color=colours.ink(value), fontsize=7 if len(columns) <= _ROOM / 2 else 5.5,
            )  # fmt: skip
            text.set_in_layout(False)  # it lies within its field
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0, labelsize=6.5)
    axes.set_ylim(len(rows), 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    places = range(0, len(columns), -(-len(columns) // (2 * _ROOM)))
    axes.set_xticks([place + 0.5 for place in places], [columns[place] for place in places])


def _paint_maps(
    canvas: Canvas, both: Sequence[Axes], cosine: Floats, share: Floats, rows: Sequence[str],
    columns: Sequence[str],
) -> None:  # fmt: skip
    """Mean cosines and shares of steps in conflict [R, C], each with a bar of its colours."""
    maps = ((COSINES, cosine, cosines(cosine)), (SHARES, share, CONFLICTS))
    for axes, (title, values, colours) in zip(both, maps, strict=True):
        paint_heat(axes, values, rows, columns, colours)
        axes.set_title(title)
        # In steps, which an SVG can hold.
        ends = np.linspace(colours.low, colours.high, _STEPS + 1)
        ticks = np.linspace(colours.low, colours.high, 5).tolist()
        bar = canvas.colorbar(
            axes.collections[0], ax=axes, boundaries=ends, values=(ends[1:] + ends[:-1]) / 2,
            ticks=ticks, pad=0.02, aspect=15, shrink=0.9,
        )  # fmt: skip
        bar.ax.set_yticklabels([colours.text(tick) for tick in ticks])
        bar.ax.tick_params(labelsize=6, length=2)
        bar.outline.set_visible(False)


def _both(
    found: Sequence[Mapping[str, PairConflict]], pairs: Sequence[str]
) -> tuple[Floats, Floats]:
    """Mean cosines and shares of steps in conflict of some pairs, NaN where they did not meet."""
    nothing = PairConflict.model_construct(steps=0, cosine=np.nan, conflicting=np.nan)
    each = [[pairs_met.get(pair, nothing) for pair in pairs] for pairs_met in found]
    cosine = np.array([[pair.cosine for pair in row] for row in each])
    return cosine, np.array([[pair.conflicting for pair in row] for row in each])


def epochs_figure(found: "Mapping[int, Joint]", pairs: Sequence[str], subject: Subject) -> Figure:
    """Pairs against epochs: mean cosine and share of steps in conflict."""
    epochs = range(min(found), max(found) + 1)
    cosine, share = _both([found[e].pairs if e in found else {} for e in epochs], pairs)

    def paint(canvas: Canvas) -> None:
        both = canvas.subplots(2, 1, sharex=True)
        _paint_maps(canvas, both, cosine.T, share.T, pairs, [str(epoch) for epoch in epochs])
        both[1].set_xlabel("epoch")

    return draw(
        Words(
            "conflicts", "Conflicts over the epochs", subject,
            f"Heat maps of {', '.join(pairs)} over epochs {epochs[0]} to {epochs[-1]}: {COSINES} "
            f"and {SHARES}; the table below has the numbers.",
            f"{COLOURS} {HOW}",
        ),
        paint,
        height=1.1 + 2 * max(_ROW * len(pairs), 0.4),
        files=False,
    )  # fmt: skip


def layers_figure(found: "Layers", pairs: Sequence[str], subject: Subject) -> Figure:
    """Parts of the encoder against pairs: mean cosine and share of steps in conflict."""
    rows = list(found)
    parts = f"{numbers.counted(len(rows), 'part')} ({rows[0]} to {rows[-1]})"
    words = Words(
        "layers", "Conflicts by part of the encoder", subject,
        f"Heat maps of {parts} against {', '.join(pairs)}: {COSINES} and {SHARES}.",
        f"Over all epochs, in the steps that were looked at. {COLOURS} {HOW}",
    )  # fmt: skip
    return _pairs_figure(words, *_both(list(found.values()), pairs), rows, pairs, files=False)


def methods_figure(
    name: str,
    found: Mapping[str, Sequence[Sequence[float]]],
    pairs: Sequence[str],
    subject: Subject,
) -> Figure:
    """Methods against pairs: method -> its mean cosines [P] and shares of steps in conflict [P]."""
    words = Words(
        name, "Conflicts by method", subject,
        f"Heat maps of {numbers.counted(len(found), 'method')} against "
        f"{', '.join(pairs)}: {COSINES} and {SHARES}; the table has the numbers.",
        f"Means over seeds, of all joint steps. {COLOURS} {HOW}",
    )  # fmt: skip
    cosine, share = np.moveaxis(np.array(list(found.values())), 1, 0)
    return _pairs_figure(words, cosine, share, list(found), pairs)


def _pairs_figure(
    words: Words,
    cosine: Floats,
    share: Floats,
    rows: Sequence[str],
    pairs: Sequence[str],
    *,
    files: bool = True,
) -> Figure:
    """Two maps side by side, of rows against pairs."""

    def paint(canvas: Canvas) -> None:
        names = [pair.replace("/", "/\n") for pair in pairs]
        _paint_maps(canvas, canvas.subplots(1, 2, sharey=True), cosine, share, rows, names)

    return draw(words, paint, height=0.9 + _ROW * max(3, len(rows)), files=files)
