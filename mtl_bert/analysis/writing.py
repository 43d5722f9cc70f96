"""A report's files: the pages, the text, the tables and the figures, each whole or not at all."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from mtl_bert.analysis.document import PAGE, Document, Figure, Record, Table
from mtl_bert.analysis.figures.canvas import standalone
from mtl_bert.analysis.markdown import markdown
from mtl_bert.analysis.page import page
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
