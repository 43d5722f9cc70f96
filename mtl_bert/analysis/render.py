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

from mtl_bert.analysis.canvas import inline, standalone
from mtl_bert.analysis.document import PAGE, Block, Document, Figure, Record, Table
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
    numbers = itertools.count(1)

    def drawing(figure: Figure) -> str:
        """A figure's SVG, which matplotlib has made: the only markup that is not the template's."""
        return inline(figure, next(numbers))

    return environment(autoescape=True).get_template("page.html.j2").render(
        document=document, kind=_kind, drawing=drawing
    ) + "\n"  # fmt: skip


def markdown(document: Document) -> str:
    """The whole report; figures are links to their files."""
    plain = environment(autoescape=False)
    plain.filters |= {"inner": _inner, "escaped": _escaped}
    text = plain.get_template("report.md.j2").render(document=document, kind=_kind)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def environment(*, autoescape: bool) -> Environment:
    """Jinja for the templates of this package."""
    return Environment(
        loader=PackageLoader("mtl_bert.analysis", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _kind(block: Block) -> str:
    return type(block).__name__


def _escaped(text: str) -> str:
    """Text that begins a line, where a few more signs mean something."""
    return re.sub(r"^([#+-])", r"\\\1", _inner(text))


def _inner(text: str) -> str:
    """Text as it is, in one line: nothing in it is Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", line)
