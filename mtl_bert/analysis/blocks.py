"""What a report says, apart from how it looks: paragraphs, tables and charts under headings."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mtl_bert.analysis.columns import MISSING, Column, column

Row = Mapping[Any, Any]
"""A row of a frame: column -> value."""

TONES = {
    "significantly higher": "good", "significantly lower": "bad", "equivalent": "",
    "supported": "good", "contradicted": "bad",
}  # fmt: skip
"""How verdicts sound."""
TABLES = tomllib.loads(Path(__file__).with_name("tables.toml").read_text("utf-8"))


class Plot(NamedTuple):
    """A small drawing in a cell, on a line from 0 to 100: points, and a tick at ``mark``.

    A difference also has the span of its interval, and the band of the margin around 0.
    """

    label: str
    points: Sequence[float]
    mark: float
    span: Sequence[float] = ()
    band: Sequence[float] = ()


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    ``order`` is what it is sorted by, where that is not the number that its text begins with;
    ``tip`` is said on demand, ``tone`` is good, bad or quiet.
    """

    text: str
    order: float | None = None
    tip: str = ""
    link: str = ""
    tone: str = ""
    plots: Sequence[Plot] = ()


class Text(NamedTuple):
    """A paragraph, and a list below it."""

    words: str
    points: Sequence[str] = ()
    kind: str = "text"


class Table(NamedTuple):
    """A table: a cell for each row and column, and the frame with all digits for its file."""

    name: str  # of its file, and its anchor
    title: str
    columns: Sequence[Column]  # the first one names the row
    rows: Sequence[Sequence[Cell]]
    frame: Any
    caption: str = ""
    folded: bool = False  # shown on demand only, where that can be
    told: bool = False  # in the Markdown too, which names the files of all others
    shown: str = ""  # of the columns against a baseline, the only one that is not hidden
    kind: str = "table"


class Chart(NamedTuple):
    """A Vega-Lite chart with its title in it; ``rows`` (CSV) take the place of its data."""

    name: str
    spec: dict[str, Any]
    rows: str = ""
    kind: str = "chart"

    @property
    def title(self) -> str:
        """What it shows, for those who cannot see it."""
        return str(self.spec["title"]["text"])


Block = Text | Table | Chart


class Article(NamedTuple):
    """All that is said of one setting, of a series of settings, or of a run."""

    anchor: str  # its own; of a run's view that of its setting, where the way back leads
    title: str  # what was compared on which data, in a sentence
    lead: str  # the data, encoder and batches
    first: Sequence[Block]  # what stands on the first screen
    badges: Sequence[tuple[str, str]] = ()  # what must be known before any number, and why
    answer: str = ""  # the recommendation
    sections: Mapping[str, Sequence[Block]] = {}  # by their titles
    short: str = ""  # its name in the list of articles


class Page(NamedTuple):
    """The whole report: articles, what could not be read, and a view of each run."""

    studies: Sequence[Article]
    warnings: Sequence[str] = ()
    views: Sequence[Article] = ()


def blocks(articles: Iterable[Article]) -> Iterator[Block]:
    """All blocks of some articles, in order."""
    for article in articles:
        for part in (article.first, *article.sections.values()):
            yield from part


def _cell(row: Row, shown: Column, tips: Sequence[str]) -> Cell:
    """A value as its column writes it, ± NAME_sd unless that is told on demand."""
    value, sd = row.get(shown.name), f"{shown.name}_sd"
    if isinstance(value, Cell):
        return value
    told = [f"{c.title}: {c.write(row.get(c.name))}" for c in map(column, tips)]
    text = shown.write(value, None if sd in tips else row.get(sd))
    return Cell(text, tip="\n".join(told), tone=TONES.get(text.partition(" (")[0], ""))


def table(
    kind: str, frame: pd.DataFrame, name: str = "", more: Sequence[Column] = (),
    given: Mapping[str, Iterable[Cell]] = {}, **words: Any,
) -> Table:  # fmt: skip
    """A table of a frame's rows, as ``tables.toml`` declares its kind; without empty columns.

    Args:
        kind, frame, name: a name other than its kind's is for its file.
        more: columns that depend on tasks or methods.
        given: column -> its cells, where they are made elsewhere.
        words: what title and caption leave open.
    """
    about = {"titles": {}, "tips": {}, "caption": "", **TABLES[kind]}
    places = [[column(c, about["titles"].get(c))] if c != "*" else more for c in about["columns"]]
    columns = [c for place in places for c in place]
    rows: Any = frame.to_dict("records")
    for row, *cells in zip(rows, *given.values(), strict=True):
        row.update(zip(given, cells, strict=True))
    made = [[_cell(row, c, about["tips"].get(c.name, ())) for c in columns] for row in rows]
    kept = [n for n in range(len(columns)) if any(row[n].text != MISSING for row in made)]
    shown, made = [columns[n] for n in kept], [[row[n] for n in kept] for row in made]
    title, caption = (about[key].format(**words) for key in ("title", "caption"))
    return Table(name or kind, title, shown, made, frame, caption,
                 folded="folded" in about, told="told" in about)  # fmt: skip


def chart(name: str, drawn: Any | None) -> Chart | None:
    """An Altair chart; None where there is nothing to draw."""
    return drawn and Chart(name, drawn.to_dict(validate=False))


def plot(
    label: str, points: Sequence[float], ends: tuple[float, float], mark: float = 0.0,
    span: Sequence[float] = (), band: Sequence[float] = (),
) -> Sequence[Plot]:  # fmt: skip
    """A drawing of values between two ``ends``; none where one is missing or the ends are one."""
    low, high = ends
    if not high > low or pd.isna([*points, *span]).any():
        return ()

    def placed(values: Sequence[float]) -> list[float]:
        return [round(100 * (min(max(v, low), high) - low) / (high - low), 1) for v in values]

    return (Plot(label, placed(points), placed([mark])[0], placed(span), placed(band)),)
