"""Comma- or tab-separated files, as people really have them.

Read with quoting on. What real files hold and this reader survives, reporting each row that it
cannot use by line: a byte-order mark, CRLF, bytes that are not UTF-8, too few or too many
fields, an index column without a name, a quote that is opened and never closed.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtl_bert.data.sources.records import Columns, Record, Records, Source
from mtl_bert.data.table import DataError, MissingSplitError
from mtl_bert.data.token_cache import Fingerprint, digest, file_digest
from mtl_bert.tasks import Task

# A quoted field may hold line breaks; one that goes on for longer is a quote nobody closed.
LONGEST_RECORD = 20


@dataclass(frozen=True)
class Delimited(Source):
    """A directory of delimited files, the splits of each task named in the task's file.

    Attributes:
        name: the key under a task's ``sources`` that says its files and columns.
        dir: the directory that file names are relative to; None stands for one not given.
        separator: between the fields; a task's own ``separator`` goes before it.
    """

    name: str
    dir: str | None
    separator: str = "\t"

    def __post_init__(self) -> None:
        if self.dir is None:
            raise DataError(
                f"data.dir: expected the directory of the {self.name} files, found nothing; "
                "write data.dir=DIR"
            )
        if not Path(self.dir).is_dir():
            found = "a file" if Path(self.dir).exists() else "nothing"
            raise DataError(
                f"data.dir: expected a directory, found {found} at {self.dir}; write data.dir=DIR"
            )

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """A digest of the file's bytes and of how they are read."""
        columns, separator, path = self._locate(task, split)
        how = (separator, columns, task.pair, task.head, split != "test")
        return Fingerprint(str(path), digest("delimited", path.name, file_digest(path), *how))

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Open the file of one split."""
        columns, separator, path = self._locate(task, split)
        header, records = _read(path, separator)
        columns.check(task, header, str(path), labelled=labelled)
        return Records(columns, records, str(path))

    def _locate(self, task: Task, split: str) -> tuple[Columns, str, Path]:
        file, settings = self._settings(task, split, "a file")
        separator = settings.pop("separator", self.separator)
        columns, path = Columns.read(task, settings), Path(self.dir or ".") / file
        if not path.is_file():
            raise MissingSplitError(
                f"{path}: expected a data file of task {task.name}, found nothing",
                "put it there or write another data.dir",
            )
        return columns, separator, path


def _read(path: Path, separator: str) -> tuple[list[str], Iterator[Record]]:
    """The header of a file and its records."""
    raw = path.read_bytes()
    if b"\0" in raw:
        raise DataError(
            f"{path}: expected text, found binary data; name a file separated by {separator!r}"
        )
    # Bytes that are not UTF-8 become lone surrogates, which mark the rows that have them.
    text = raw.decode("utf-8-sig", errors="surrogateescape")
    lines = [line.rstrip("\r") for line in text.split("\n" if "\n" in text else "\r")]
    if not lines[0].strip():
        raise DataError(
            f"{path}: expected a header line with column names, found "
            f"{'an empty line' if any(lines) else 'an empty file'}; name another file"
        )
    header, _ = _record(lines[:1], 0, separator)
    return header, _records(path, lines, header, separator)


def _records(path: Path, lines: list[str], header: list[str], separator: str) -> Iterator[Record]:
    at = 1
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        fields, used = _record(lines, at, separator)
        text = separator.join(fields)
        fault = ""
        if not fields or (used > 1 and len(fields) != len(header)):
            used, fault = 1, "a quote is opened and not closed"
            fields = [part.strip('"') for part in lines[at].split(separator)]
        elif len(fields) != len(header):
            fault = f"expected {len(header)} fields, found {len(fields)}"
        elif not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text):
            fault = "the text is not UTF-8"
        row = dict(zip(header, fields, strict=False))  # a broken row's as far as they go
        yield Record(f"{path.name} line {at + 1}", row, fault)
        at += used


def _record(lines: list[str], at: int, separator: str) -> tuple[list[str], int]:
    """The fields of the record that begins in a line, and how many lines it takes.

    There are no fields where a quote is opened and not closed.
    """
    if '"' not in lines[at]:
        return lines[at].split(separator), 1
    window = [line + "\n" for line in lines[at : at + LONGEST_RECORD]]
    # Strict, lest the quote of a later record close one that nobody closed.
    reader = csv.reader(window, delimiter=separator, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:
        pass  # stray quotes: the line by itself, and leniently
    try:
        fields = next(csv.reader(window[:1], delimiter=separator))
    except csv.Error:  # a carriage return amid the line
        return lines[at].split(separator), 1
    return ([] if fields[-1].endswith("\n") else fields), 1
