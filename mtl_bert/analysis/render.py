"""A report's files: the pages, the text, the tables and the figures, each whole or not at all.

A page needs nothing else: no script, no network. In Markdown, figures are links to their files.

What is published has its runs in one small file, from which anyone can make the report again,
beside runs of their own. It holds what a report reads: each run's results, and its answers to the
dev sets without their texts. Unpacked, it is a folder of finished runs.
"""

import csv
import io
import itertools
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mtl_bert.analysis.canvas import inline, standalone
from mtl_bert.analysis.document import PAGE, Block, Document, Figure, Record, Table
from mtl_bert.analysis.run_files import LEFT_OUT, Run, UnusableError
from mtl_bert.runs.results import Results, RunFolder
from mtl_bert.utils.files import replacing, write_text

TEXT, TABLES, FIGURES, ARCHIVE = "report.md", "tables", "figures", "runs.tar.xz"


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


def publish_report(document: Document, runs: Sequence[Run], out: Path) -> None:
    """Write a report's small files and its runs; what an older one left there goes.

    Args:
        document: the report of the runs, without their texts.
        runs: those.
        out: a directory of its own.

    Raises:
        OSError: it cannot be written.
    """
    published_before = (out / ARCHIVE).exists()
    written = write_small(document, out)
    write_archive(runs, out / ARCHIVE)
    if published_before:
        for path in (*(out / TABLES).glob("*.csv"), *(out / FIGURES).glob("*.svg")):
            if path not in written:
                path.unlink()


def write_archive(runs: Sequence[Run], path: Path) -> None:
    """Write the runs, the same bytes for the same runs; texts and this machine's paths stay here.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for name, text in _files(sorted(runs, key=lambda run: run.name)):
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _files(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Names and contents, like beside like, which packs best."""
    for run in runs:
        name = RunFolder(Path(run.name)).results.as_posix()
        yield name, _without_places(run.results).model_dump_json(indent=1) + "\n"
    for task in dict.fromkeys(task for run in runs for task in run.results.tasks):
        for run in runs:
            try:
                answers = run.predictions(task)
            except UnusableError:
                continue  # a report of the archive says so, as one of the run does
            sure = answers["confidence"]
            written = answers[["id"]].assign(
                text=LEFT_OUT,
                label=answers["label"].map("{:.15g}".format),
                prediction=answers["prediction"].map("{:.9g}".format),
                confidence=sure.map("{:.9g}".format).where(sure.notna(), ""),
            )
            name = RunFolder(Path(run.name)).predictions(task).as_posix()
            yield name, written.to_csv(index=False, lineterminator="\n")


def _without_places(results: Results) -> Results:
    data = results.data.model_copy(update={"skipped": _told(results.data.skipped)})
    own = {"config": _told(results.config), "overrides": _told(results.overrides), "data": data}
    return results.model_copy(update=own)


def _told(node: Any) -> Any:
    """The same, but of each path of this machine only its last part."""
    if isinstance(node, dict):
        return {_told(key): _told(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_told(value) for value in node]
    if isinstance(node, str):
        key, sign, value = node.rpartition("=")  # an override, or plain words
        return f"{key}{sign}DIR/{PurePath(value).name}" if PurePath(value).is_absolute() else node
    return node


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
