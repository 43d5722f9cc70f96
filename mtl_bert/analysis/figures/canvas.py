"""What every figure shares: its size, its title, and how it becomes a file or part of a page."""

import io
import math
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures import style
from mtl_bert.analysis.studies import Subject

COLUMN, PAGE = 3.3, 6.5  # inches: what a column and a page of two columns leave
DPI = 200
_TITLE, _SUBJECT = 8.5, 6.5  # points
_LINE = 1.32 / 72  # inches of a line, for each point of its size
_WIDTH = 0.56 / 72  # inches of a letter, for each point, on average
_BOLD = 1.1  # times as wide
_HANDLE = 0.45  # inches of a line in a legend


@dataclass(frozen=True)
class Words:
    """What is said about a figure besides its drawing.

    Attributes:
        name: of its files.
        heading: its title.
        subject: what the numbers are about; it becomes part of the title.
        description: what it shows, for those who cannot see it.
        caption: how to read it.
    """

    name: str
    heading: str
    subject: Subject
    description: str
    caption: str = ""


def draw(
    words: Words,
    paint: Callable[[Canvas], None],
    *,
    width: float = PAGE,
    height: float = 2.8,
    files: bool = True,
) -> Figure:
    """Paint on a canvas of ``width`` × ``height`` inches and put the title above.

    The title's lines come on top of the height, so that long ones take nothing from the drawing.
    Without ``files`` the figure is for a page only, which takes half the time.
    """
    lines = _wrapped(words.heading, _TITLE * _BOLD, width)
    under = _wrapped(f"[{words.subject.words}]", _SUBJECT, width)
    top = 0.06 + _LINE * (_TITLE * len(lines) + _SUBJECT * len(under)) + 0.06
    with _style():
        canvas = Canvas(figsize=(width, height + top), layout="constrained")
        FigureCanvasAgg(canvas)
        engine = canvas.get_layout_engine()
        assert engine is not None
        share = height / (height + top)
        engine.set(rect=(0, 0, 1, share))  # type: ignore[call-arg]
        place = 1 - 0.06 / (height + top)
        plain: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.2}
        canvas.text(0.01, place, "\n".join(lines), fontsize=_TITLE, weight="bold", **plain)
        place -= _LINE * _TITLE * len(lines) / (height + top)
        canvas.text(0.01, place, "\n".join(under), fontsize=_SUBJECT, **plain)
        paint(canvas)
        return Figure(
            words.name,
            words.heading,
            words.subject,
            words.description,
            words.caption,
            svg=_svg(canvas),
            png=_png(canvas) if files else b"",
        )


def _wrapped(text: str, size: float, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 0.1) / (_WIDTH * size)))


@dataclass(frozen=True)
class Legend:
    """The one legend of all axes, under them, in as many columns as its labels leave room for.

    Attributes:
        labels: as the axes call their lines.
        width: of the figure in inches.
    """

    labels: tuple[str, ...]
    width: float = PAGE

    @property
    def columns(self) -> int:
        """At least one."""
        letter = _WIDTH * style.SIZES["legend.fontsize"]
        for columns in (4, 3, 2):
            rows = -(-len(self.labels) // columns)  # labels fill one column after the other
            parts = [self.labels[i : i + rows] for i in range(0, len(self.labels), rows)]
            if sum(letter * max(map(len, part)) + _HANDLE for part in parts) < self.width:
                return columns
        return 1

    @property
    def height(self) -> float:
        """Inches."""
        rows = -(-len(self.labels) // self.columns)
        return 0.12 + rows * 1.55 / 72 * style.SIZES["legend.fontsize"]

    def paint(self, canvas: Canvas, axes: Axes) -> None:
        """Draw it for the lines of some axes."""
        handles, labels = axes.get_legend_handles_labels()
        canvas.legend(
            handles, labels, loc="outside lower center", ncols=self.columns,
            handlelength=2.4, columnspacing=1.2,
        )  # fmt: skip


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, … around what there is to show, for axes of rising powers."""
    low = max(low, 1e-4)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [step for step in steps if low / 1.6 <= step <= high * 1.6]


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Make x logarithmic, with numbers that are written out."""
    axes.set_xscale("log")
    ticks = log_ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style.RC)  # type: ignore[arg-type]
        yield


def _svg(canvas: Canvas) -> str:
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _png(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


def standalone(figure: Figure) -> str:
    """The figure as an SVG file: on white, whatever shows it."""
    svg = figure.svg.replace("<svg ", '<svg style="background:#ffffff" ', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'


_COLOURS = {style.INK: "currentColor", style.GRID: "var(--grid)", style.PAPER: "var(--paper)"}


def inline(figure: Figure, number: int) -> str:
    """The figure as a part of a page: its ink and grid are the page's, its ids its own.

    Its words are the caller's to give: it is marked as decoration of what says them.
    """
    svg = figure.svg
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="f{number}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#f{number}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#f{number}-\1)", svg)
    # The page's width decides; the viewBox keeps the proportions.
    head, tail = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} aria-hidden="true" focusable="false">{tail}'
