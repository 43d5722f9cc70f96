"""Runs in one small file, from which anyone can make their report again, beside runs of their own.

It holds what a report reads: each run's results, and its answers to the dev sets without their
texts. Unpacked, it is a folder of finished runs.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from mtl_bert.analysis.document import Document
from mtl_bert.analysis.render import FIGURES, TABLES, write_small
from mtl_bert.analysis.run_files import LEFT_OUT, Run, UnusableError
from mtl_bert.runs.results import Results, RunFolder
from mtl_bert.utils.files import replacing

ARCHIVE = "runs.tar.xz"


def publish(document: Document, runs: Sequence[Run], out: Path) -> None:
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
