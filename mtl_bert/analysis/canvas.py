"""Figures: their looks and titles, panels of lines, heat maps, and how they become files.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Ink and grid are colours that
nothing else has, so that a page can replace them by its own.
"""

import io
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.numbers import MINUS

INK, GRID, PAPER = "#1a1a1b", "#d4d4d5", "#fefefd"
OTHER = "#A08A00"  # a darker yellow: Okabe and Ito's own is lost on white
COLOURS = {
    "rr": "#0072B2",
    "annealed": "#E69F00",
    "vanilla": "#009E73",
    "arrp": "#D55E00",
    "full": "#CC79A7",
    "single": "#56B4E9",
    "random": "#8A8A8A",
}
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", OTHER)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
WIDTH, DPI = 6.5, 200  # inches of a page with two columns
_HEADING, _SUBJECT = 8.5, 6.5  # points
_RC: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "savefig.bbox": "tight",  # the title above and the legend below make the figure larger
    "savefig.pad_inches": 0.06,
    "text.parse_math": False,  # names of runs and classes are no formulas
    "svg.fonttype": "path",
    "svg.hashsalt": "mtl_bert",  # the same figure gives the same file
}

SPREAD = "Bars or bands: ± one standard deviation over seeds, where there are several."
POINTS = ["panel", "series", "x", "y"]
"""Columns of a frame of points; several of the same x are repetitions."""


@dataclass(frozen=True)
class Look:
    """A series' colour, marker and line; hollow markers where something is frozen."""

    colour: str
    marker: str = ""
    line: Any = "-"
    hollow: bool = False

    @property
    def marks(self) -> dict[str, Any]:
        """Colour and marker as matplotlib takes them."""
        fill = "none" if self.hollow else self.colour
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": fill}


Looks = Mapping[Method, Look]


def looks_of(methods: Iterable[Method]) -> Looks:
    """The look of each method, for all figures of a report: colour by sampler, then variants.

    The order given does not matter.
    """

    def variant(m: Method) -> tuple[Any, ...]:
        return (m.sampler, m.frozen, m.B or 0, m.lambda_ or 0.0, m.label)

    variants: defaultdict[str, list[Method]] = defaultdict(list)
    for method in sorted(set(methods), key=variant):
        variants[method.sampler].append(method)
    return {
        method: Look(
            COLOURS.get(sampler, OTHER),
            MARKERS[number % len(MARKERS)],
            LINES[number % len(LINES)],
            bool(method.frozen),
        )
        for sampler, members in variants.items()
        for number, method in enumerate(members)
    }


def series_looks(names: Sequence[str]) -> dict[str, Look]:
    """The look of each task or pair in figures of one run, by its place."""
    return {
        name: Look(SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    }


def draw(
    figure: Figure, paint: Callable[[Canvas], None], height: float = 2.8, *, files: bool = True
) -> Figure:
    """Paint a figure on a canvas of ``height`` inches, its title above.

    Without ``files`` the figure is for a page only, which takes half the time.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)  # type: ignore[arg-type]
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(canvas)
        subject = textwrap.wrap(f"[{figure.subject.words}]", 120)
        heading = textwrap.fill(figure.heading, 86)
        top = 1 + 0.06 / height
        canvas.text(0.01, top, "\n".join(subject), fontsize=_SUBJECT, va="bottom")
        top += len(subject) * _SUBJECT * 1.25 / 72 / height
        canvas.text(0.01, top, heading, fontsize=_HEADING, va="bottom", weight="bold")
        paint(canvas)
        png, text = io.BytesIO(), io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        if files:
            canvas.savefig(png, format="png", dpi=DPI, facecolor="white")
    svg = text.getvalue()
    return replace(figure, svg=svg[svg.index("<svg") :], png=png.getvalue())


def legend(canvas: Canvas, axes: Axes) -> None:
    """One legend for all axes below them, of some axes' lines."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 120 // (max(map(len, labels)) + 8)
    canvas.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), handlelength=2.4,
        ncols=max(1, min(4, columns)),
    )  # fmt: skip


def logarithmic(axis: Any) -> None:
    """Write 1, 2, 5, 10, … out on an axis of powers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axis.set_minor_locator(NullLocator())


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
        files: see :func:`draw`.
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


def standalone(figure: Figure) -> str:
    """The figure as an SVG file: on white, whatever shows it."""
    svg = figure.svg.replace("<svg ", '<svg style="background:#ffffff" ', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'


def inline(figure: Figure, number: int) -> str:
    """The figure as a part of a page: its ink and grid are the page's, its ids its own.

    Its words are the caller's to give: it is marked as decoration of what says them.
    """
    svg = figure.svg
    for colour, variable in ((INK, "currentColor"), (GRID, "var(--grid)"), (PAPER, "var(--paper)")):
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="f{number}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#f{number}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#f{number}-\1)", svg)
    # The page's width decides; the viewBox keeps the proportions.
    head, tail = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} aria-hidden="true" focusable="false">{tail}'
