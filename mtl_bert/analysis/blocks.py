"""What a report says, apart from how it looks: paragraphs, tables and charts under headings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mtl_bert.analysis.columns import Column, column, write

Row = Mapping[Any, Any]
"""A row of a frame: column -> value."""

GOOD, BAD, QUIET = "good", "bad", "quiet"


@dataclass(frozen=True)
class Plot:
    """A small drawing in a cell, on a line from 0 to 100.

    Attributes:
        kind: ``dots`` (a dot for each seed) or ``bar`` (an interval around 0 and a margin).
        mean: where the mean stands.
        points: of dots their places; of a bar the margin's ends and the interval's.
        label: the same in words.
    """

    kind: str
    mean: float
    points: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    Attributes:
        text: what stands in it.
        order: what it is sorted by, where that is not the number that its text begins with.
        tip: what more is said on demand.
        link: where it leads.
        strong: whether it stands out.
        tone: good, bad or quiet.
        plots: what is drawn before the text.
    """

    text: str
    order: float | None = None
    tip: str = ""
    link: str = ""
    strong: bool = False
    tone: str = ""
    plots: tuple[Plot, ...] = ()

    def packed(self) -> str | list[Any]:
        """The same for scripts: its text, or text, order, tip and tone."""
        rest = [self.order, self.tip or None, self.tone or None]
        while rest and rest[-1] is None:
            rest.pop()
        return [self.text, *rest] if rest else self.text


@dataclass(frozen=True)
class Text:
    """A paragraph, a list below it, or commands with what each is for."""

    words: str = ""
    points: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its file, and its anchor.
        title: above it.
        columns: their declarations; the first one names the row.
        rows: a cell for each column.
        frame: the same with all digits, for the file.
        caption: how to read it.
        notes: footnotes, numbered from 1.
        folded: shown on demand only, where that can be.
        board: the setting whose baseline can be chosen in it; nothing in other tables.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    frame: pd.DataFrame
    caption: str = ""
    notes: tuple[str, ...] = ()
    folded: bool = False
    board: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """A chart as a Vega-Lite specification, whose title stands in it, and how to read it."""

    name: str
    words: str
    spec: dict[str, Any]
    kind: str = "chart"

    @property
    def title(self) -> str:
        """What it shows, for those who cannot see it."""
        return str(self.spec["title"]["text"])


Block = Text | Table | Chart


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Badge:
    """What a reader must know before any number, and why."""

    text: str
    tip: str


@dataclass(frozen=True)
class Article:
    """All that is said of one setting, or of a series of settings.

    Attributes:
        anchor: its own.
        short: its name in the list of articles.
        title: what was compared on which data, in a sentence.
        badges: what must be known about its numbers.
        lead: the data, encoder and batches.
        answer: the recommendation; nothing where none can be given.
        first: what stands on the first screen.
        sections: all the rest.
    """

    anchor: str
    short: str
    title: str
    badges: tuple[Badge, ...]
    lead: str
    answer: str
    first: tuple[Block, ...]
    sections: tuple[Section, ...]

    def blocks(self) -> list[Block]:
        """All blocks, in order."""
        return [*self.first, *(block for section in self.sections for block in section.blocks)]


@dataclass(frozen=True)
class Page:
    """The whole report.

    Attributes:
        studies: the articles; the first one is what the page is about.
        warnings: what could not be read.
        boards: setting -> its leaderboard against every baseline, for scripts.
        runs: each run's own view, for scripts.
        kinds: the views' tables: their titles and columns.
    """

    studies: tuple[Article, ...]
    warnings: tuple[str, ...] = ()
    boards: Mapping[str, Any] = field(default_factory=dict)
    runs: Sequence[Mapping[str, Any]] = ()
    kinds: Mapping[str, Any] = field(default_factory=dict)

    def blocks(self) -> list[Block]:
        """All blocks, in order."""
        return [block for study in self.studies for block in study.blocks()]


def own(name: str, title: str, about: str, form: str = "", unit: str = "") -> Column:
    """A column that one table alone has."""
    return Column(name, "float" if form else "str", form, unit, title, (), about)


def cell(row: Row, shown: Column, tips: Iterable[str] = ()) -> Cell:
    """A value of a frame's row as its column writes it; NAME_sd in the row is its deviation.

    Args:
        row: of a frame.
        shown: the column.
        tips: other columns that are told on demand.
    """
    value = row.get(shown.name)
    if isinstance(value, Cell):
        return value
    told = [f"{c.title}: {c.write(row.get(c.name))}" for c in map(column, tips)]
    return Cell(shown.write(value, row.get(f"{shown.name}_sd")), tip="\n".join(told))


def table(
    name: str,
    title: str,
    frame: pd.DataFrame,
    columns: Sequence[str | Column],
    *,
    tips: Mapping[str, Sequence[str]] | None = None,
    given: Mapping[str, Sequence[Cell]] | None = None,
    **more: Any,
) -> Table:
    """A table of a frame's columns.

    Args:
        name: see :class:`Table`, as for ``title`` and ``more``.
        title: above it.
        frame: a row for each row.
        columns: what is shown, by name or as declared for this table.
        tips: column -> others whose values are told on demand.
        given: column -> its cells, where they are made elsewhere.
        more: caption, notes, folded, board.
    """
    shown = tuple(column(c) if isinstance(c, str) else c for c in columns)
    made = cells(frame.to_dict("records"), shown, tips or {}, given or {})
    return Table(name, title, shown, tuple(map(tuple, made)), frame, **more)


def cells(
    rows: Iterable[Row],
    columns: Sequence[Column],
    tips: Mapping[str, Sequence[str]] = {},
    given: Mapping[str, Sequence[Cell]] = {},
) -> list[list[Cell]]:
    """The cells of rows; see :func:`table`."""
    return [
        [
            given[shown.name][place] if shown.name in given
            else cell(row, shown, tips.get(shown.name, ()))
            for shown in columns
        ]
        for place, row in enumerate(rows)
    ]  # fmt: skip


def dots(values: Sequence[float], low: float, high: float) -> tuple[Plot, ...]:
    """A dot for each seed's value, and a line at their mean, between two ends."""
    if len(values) == 0 or high <= low:
        return ()
    places = [round(100 * (float(value) - low) / (high - low), 1) for value in values]
    label = ", ".join(f"{value:.3f}" for value in values)
    return (Plot("dots", round(sum(places) / len(places), 1), tuple(places), f"seeds: {label}"),)


def bar(row: Row, reach: float, margin: float, label: str = "") -> tuple[Plot, ...]:
    """A difference with its interval over seeds, from -reach to reach with 0 in the middle."""
    mean, low, high = (row[name] for name in ("difference", "low", "high"))
    if any(pd.isna(value) for value in (mean, low, high)) or reach <= 0:
        return ()

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / reach)), 1)

    points = (place(-margin), place(margin), place(low), place(high))
    ends = " to ".join(write(name, row[name]) for name in ("low", "high"))
    label = f"{label}: {write('difference', mean)} ({ends})"
    return (Plot("bar", place(mean), points, label),)
