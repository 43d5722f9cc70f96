"""What a report says, apart from how it looks: sections of paragraphs, tables and figures.

A table or figure cannot be made without the :class:`~mtl_bert.analysis.studies.Subject` that its
numbers are about, and its title always ends with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtl_bert.analysis.studies import Subject

PAGE = "index.html"


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
    """

    heading: str
    group: str = ""
    numeric: bool = True
    wide: bool = False

    @property
    def whole(self) -> str:
        """Both headings in one."""
        return f"{self.group} {self.heading}".strip()


@dataclass(frozen=True)
class Cell:
    """What stands in a table's field; it may lead to another page of the report."""

    text: str
    bold: bool = False
    link: str = ""


Record = Mapping[str, str | int | float | None]


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
    """A figure, drawn.

    Attributes:
        name: of its files.
        heading: its title without what the numbers are about.
        subject: what the numbers are about.
        description: what it shows, in words, for those who cannot see it.
        caption: how to read it.
        svg: for a file or, after :func:`~mtl_bert.analysis.figures.canvas.inline`, a page.
        png: for a file; empty where the figure is for a page only.
    """

    name: str
    heading: str
    subject: Subject
    description: str
    caption: str
    svg: str
    png: bytes

    @property
    def title(self) -> str:
        """Heading and subject."""
        return self.subject.title(self.heading)


def words(*headings: str, group: str = "") -> tuple[Column, ...]:
    """Columns of words."""
    return tuple(Column(heading, group, numeric=False) for heading in headings)


def numeric(*headings: str, group: str = "") -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(heading, group) for heading in headings)


def table(
    name: str,
    heading: str,
    subject: Subject,
    columns: Iterable[Column],
    rows: Iterable[Sequence[str | Cell]],
    *,
    records: Iterable[Record] = (),
    **more: Any,
) -> Table:
    """A table of cells or plain texts; its records say what they are about, mostly at the end."""
    about = subject.words
    return Table(
        name,
        heading,
        subject,
        tuple(columns),
        tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in rows),
        records=tuple({**each, "subject": each.get("subject", about)} for each in records),
        **more,
    )


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
