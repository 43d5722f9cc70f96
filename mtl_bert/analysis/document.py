"""What a report says, apart from how it looks: sections of paragraphs, tables and figures.

A table or figure cannot be made without the :class:`~mtl_bert.analysis.studies.Subject` that its
numbers are about, and its title always ends with it.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
        key: of its values in the records; the heading where there is none.
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

    def cell(self, value: Any) -> "Cell":
        """What a record holds, written: a number, numbers over seeds [S], or words."""
        if isinstance(value, Cell):
            return value
        if isinstance(value, np.ndarray):
            return Cell(numbers.over_seeds(value, self.form))
        if isinstance(value, str):
            return Cell(value)
        return Cell(numbers.MISSING if value is None else self.form(value))


@dataclass(frozen=True)
class Cell:
    """What stands in a table's field; it may lead to another page of the report."""

    text: str
    bold: bool = False
    link: str = ""


Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its file.
        heading: its title without what the numbers are about.
        subject: what the numbers are about.
        columns: the first one names the row.
        rows: a cell for each column.
        caption: how to read it.
        notes: footnotes, numbered from 1.
        records: the same with all digits, for the CSV file.
        folded: shown only on demand, where that can be.
    """

    name: str
    heading: str
    subject: Subject
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        """Check that rows fill the columns."""
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.name}: a row does not have {len(self.columns)} cells")

    @property
    def title(self) -> str:
        """Heading and subject."""
        return self.subject.title(self.heading)

    @property
    def grouped(self) -> tuple[tuple[str, int], ...]:
        """The upper headings with the number of columns under each; empty without any."""
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            if groups and column.group and groups[-1][0] == column.group:
                groups[-1] = (column.group, groups[-1][1] + 1)
            else:
                groups.append((column.group, 1))
        return tuple(groups) if any(name for name, _ in groups) else ()


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: of its files.
        heading: its title without what the numbers are about.
        subject: what the numbers are about.
        description: what it shows, in words, for those who cannot see it.
        caption: how to read it.
        svg: for a file or, after :func:`~mtl_bert.analysis.figures.canvas.inline`, a page; empty
            before it is drawn.
        png: for a file; empty where the figure is for a page only.
    """

    name: str
    heading: str
    subject: Subject
    description: str
    caption: str = ""
    svg: str = ""
    png: bytes = b""

    @property
    def title(self) -> str:
        """Heading and subject."""
        return self.subject.title(self.heading)


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
    rows = []
    for place, record in enumerate(records):
        cells = {column: column.cell(record.get(column.key or column.heading)) for column in shown}
        rows.append(tuple(
            replace(cell, bold=cell.bold or (place, column.key or column.heading) in bold)
            for column, cell in cells.items()
        ))  # fmt: skip
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
