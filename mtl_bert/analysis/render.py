"""A report's files: the pages, the text, the tables and the figures, each whole or not at all.

A page needs nothing else: no script, no network. In Markdown, figures are links to their files.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mtl_bert.analysis.document import (
    PAGE,
    Answers,
    Block,
    Cell,
    Commands,
    Document,
    Figure,
    Points,
    Record,
    Section,
    Table,
    Text,
)
from mtl_bert.analysis.figures.canvas import inline, standalone
from mtl_bert.utils.files import replacing, write_text

TEXT, TABLES, FIGURES = "report.md", "tables", "figures"


def write_report(document: Document, out: Path, beside: Iterable[Document] = ()) -> None:
    """Write everything below ``out``; the report's page last, when all that it names is there.

    Args:
        document: the report.
        out: a directory.
        beside: further pages, each made when it is written.
    """
    for block in document.blocks():
        if isinstance(block, Figure):
            with replacing(out / FIGURES / f"{block.name}.png") as temporary:
                temporary.write_bytes(block.png)
    for other in beside:
        write_text(out / other.address, page(other))
    write_small(document, out)
    write_text(out / PAGE, page(document))


def write_small(document: Document, out: Path) -> set[Path]:
    """Write what is small enough to be kept beside a program: the text, tables, figures as SVG.

    Returns:
        The tables' and figures' files.
    """
    written = {}
    for block in document.blocks():
        if isinstance(block, Table):
            written[out / TABLES / f"{block.name}.csv"] = csv_text(block.records)
        elif isinstance(block, Figure):
            written[out / FIGURES / f"{block.name}.svg"] = standalone(block)
    for path, text in written.items():
        write_text(path, text)
    write_text(out / TEXT, markdown(document))
    return {*written}


def csv_text(records: Sequence[Record]) -> str:
    """Records as a CSV file; columns in the order in which they come up."""
    names = list(dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def page(document: Document) -> str:
    """The page; all texts are escaped."""
    environment = Environment(
        loader=PackageLoader("mtl_bert.analysis", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = itertools.count(1)

    def drawing(figure: Figure) -> str:
        """A figure's SVG, which matplotlib has made: the only markup that is not the template's."""
        return inline(figure, next(numbers))

    def kind(block: Block) -> str:
        return type(block).__name__

    template = environment.get_template("page.html.j2")
    return template.render(document=document, kind=kind, drawing=drawing) + "\n"


def markdown(document: Document) -> str:
    """The whole report; figures are links to their files."""
    parts = [f"# {_escaped(document.title)}", *map(_escaped, document.lead)]
    for section in document.sections:
        parts += _section(section, 2)
    return "\n\n".join(parts) + "\n"


def _section(section: Section, level: int) -> list[str]:
    parts = [f"{'#' * level} {_escaped(section.heading)}"]
    for block in section.blocks:
        parts += _block(block)
    for inner in section.sections:
        parts += _section(inner, level + 1)
    return parts


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [_escaped(block.words)]
    if isinstance(block, Points):
        return ["\n".join(f"- {_escaped(item)}" for item in block.items)]
    if isinstance(block, Commands):
        items = (f"- {_escaped(name)}\n\n      {command}" for name, command in block.items)
        return [_escaped(block.lead), "\n".join(items)]
    if isinstance(block, Answers):
        return [f"**{_inner(question)}** {_inner(answer)}" for question, answer in block.items]
    if isinstance(block, Table):
        return _table(block)
    return _figure(block)


def _table(table: Table) -> list[str]:
    heads = "|".join(f" {_inner(column.whole)} " for column in table.columns)
    rules = "|".join("---:" if column.numeric else "---" for column in table.columns)
    rows = ["|" + "|".join(f" {_cell(cell)} " for cell in row) + "|" for row in table.rows]
    notes = [f"[{number}] {_escaped(note)}" for number, note in enumerate(table.notes, start=1)]
    parts = [f"**{_escaped(table.title)}**", "\n".join([f"|{heads}|", f"|{rules}|", *rows])]
    if table.caption:
        parts.append(_escaped(table.caption))
    return [*parts, *notes]


def _cell(cell: Cell) -> str:
    text = _inner(cell.text)
    if cell.link:
        text = f"[{text}]({cell.link})"
    return f"**{text}**" if cell.bold and text else text


def _figure(figure: Figure) -> list[str]:
    picture = f"![{_escaped(figure.description)}](figures/{figure.name}.svg)"
    parts = [f"**{_escaped(figure.title)}**", picture]
    return [*parts, _escaped(figure.caption)] if figure.caption else parts


def _escaped(text: str) -> str:
    """Text that begins a line, where a few more signs mean something."""
    return re.sub(r"^([#+-])", r"\\\1", _inner(text))


def _inner(text: str) -> str:
    """Text as it is, in one line: nothing in it is Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", line)
