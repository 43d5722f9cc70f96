"""What a report says, apart from how it looks: sections of paragraphs, tables and figures.

A table or figure cannot be made without the :class:`~mtl_bert.analysis.studies.Subject` that its
numbers are about, and its title always ends with it.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.studies import Subject

PAGE = "index.html"
Form = Callable[[float], str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Points:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Commands:
    """Commands that fill gaps: what each is for, and the command."""

    lead: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answers:
    """Questions, each with its answer in a few sentences."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """A column of a table; neighbours of the same group share a heading above their own.

    Numbers stand at the right; a wide column holds sentences.

    Attributes:
        heading: its own.
        group: the one above it.
        numeric: whether it holds numbers.
        wide: whether it holds sentences.
        key: of its values in records, where that is not the heading.
        form: how a number is written.
    """

    heading: str
    group: str = ""
    numeric: bool = True
    wide: bool = False
    key: str = ""
    form: Form = numbers.count

    @property
    def whole(self) -> str:
        """Both headings in one."""
        return f"{self.group} {self.heading}".strip()

    @property
    def name(self) -> str:
        """The key of its values in records."""
        return self.key or self.heading

    def cell(self, record: "Record", *, bold: bool = False) -> "Cell":
        """What a record holds, written: a number, numbers over seeds [S], words or a cell."""
        value = record.get(self.name)
        if isinstance(value, np.ndarray):
            return Cell(numbers.over_seeds(value, self.form), bold)
        if isinstance(value, str):
            return Cell(value, bold)
        if isinstance(value, Cell):
            return value
        return Cell(numbers.MISSING if value is None else self.form(value), bold)


@dataclass(frozen=True)
class Cell:
    """What stands in a table's field; it may lead to another page of the report."""

    text: str
    bold: bool = False
    link: str = ""


Record = dict[str, Any]


@dataclass(frozen=True)
class Titled:
    """A table or a figure.

    Attributes:
        name: of its files.
        heading: its title without what the numbers are about.
        subject: what the numbers are about.
    """

    name: str
    heading: str
    subject: Subject

    @property
    def title(self) -> str:
        """Heading and subject."""
        return self.subject.title(self.heading)


@dataclass(frozen=True)
class Table(Titled):
    """A table.

    Attributes:
        columns: the first one names the row.
        rows: a cell for each column.
        caption: how to read it.
        notes: footnotes, numbered from 1.
        records: the same with all digits, for the CSV file.
        folded: shown only on demand, where that can be.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    folded: bool = False

    @property
    def grouped(self) -> tuple[tuple[str, int], ...]:
        """The upper headings with the number of columns under each; empty without any."""
        groups = [(name, len(list(own))) for name, own in groupby(self.columns, _group)]
        return tuple(groups) if any(name for name, _ in groups) else ()


def _group(column: Column) -> str:
    return column.group


@dataclass(frozen=True)
class Figure(Titled):
    """A figure.

    Attributes:
        description: what it shows, in words, for those who cannot see it.
        caption: how to read it.
        svg: for a file or, after :func:`~mtl_bert.analysis.canvas.inline`, a page; empty
            before it is drawn.
        png: for a file; empty where the figure is for a page only.
    """

    description: str
    caption: str = ""
    svg: str = ""
    png: bytes = b""


def words(*headings: str, group: str = "") -> list[Column]:
    """Columns of words."""
    return [Column(heading, group, numeric=False) for heading in headings]


def numeric(
    headings: Mapping[str, str] | Sequence[str], form: Form = numbers.count, group: str = ""
) -> list[Column]:
    """Columns of numbers: the keys of records, where they differ from headings, and headings."""
    named = headings if isinstance(headings, Mapping) else {each: each for each in headings}
    return [Column(heading, group, key=key, form=form) for key, heading in named.items()]


def table(
    name: str,
    heading: str,
    subject: Subject,
    columns: Iterable[Column],
    records: Sequence[Record],
    *,
    files: Sequence[Record] = (),
    bold: Container[tuple[int, str]] = (),
    **more: Any,
) -> Table:
    """A table made from records: its columns show some of their values, its file has all.

    Args:
        name: see :class:`Table`, as for all others.
        heading: its title.
        subject: what the numbers are about; the file says so of each record.
        columns: what is shown; the first one names the row.
        records: key -> number, numbers over seeds [S] (their mean and deviation are shown), words
            or a cell; keys that begin with _ are shown only.
        files: the file's records, where they are others.
        bold: places of records and keys that are set in bold.
        **more: caption, notes, folded.
    """
    shown = tuple(columns)
    rows = [tuple(column.cell(record, bold=(place, column.name) in bold) for column in shown)
            for place, record in enumerate(records)]  # fmt: skip
    flat = [_flat({"subject": subject.words} | record) for record in files or records]
    return Table(name, heading, subject, shown, tuple(rows), records=tuple(flat), **more)


def _flat(record: Record) -> dict[str, str | int | float | None]:
    """A record for a file: numbers over seeds as mean and deviation, with all digits."""
    flat: dict[str, str | int | float | None] = {}
    for key, value in record.items():
        if key.startswith("_"):
            continue
        if isinstance(value, np.ndarray):
            flat |= {key: float(value.mean()), f"{key}_sd": numbers.spread(value)}
        else:
            flat[key] = value.text if isinstance(value, Cell) else value
    return flat


Block = Text | Points | Commands | Answers | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the report, with parts of its own."""

    anchor: str
    heading: str
    blocks: tuple[Block, ...] = ()
    sections: tuple["Section", ...] = ()


@dataclass(frozen=True)
class Document:
    """The whole report, or a page beside it.

    Attributes:
        title: above all.
        lead: the first paragraphs.
        sections: its parts.
        address: where it lies below the report's directory.
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    address: str = PAGE

    @property
    def home(self) -> str:
        """The report's address from here; nothing for the report itself."""
        return "" if self.address == PAGE else f"{'../' * self.address.count('/')}{PAGE}"

    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in order."""
        return tuple(block for section in self.sections for block in _blocks(section))


def _blocks(section: Section) -> tuple[Block, ...]:
    inner = (block for part in section.sections for block in _blocks(part))
    return (*section.blocks, *inner)
