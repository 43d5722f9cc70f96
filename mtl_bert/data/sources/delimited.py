"""Comma- or tab-separated files, as people really have them.

What a file may mean in two ways is reported by line and never repaired: quotes that are not
closed or stray, lines with too few or too many fields, bytes of another encoding.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

from mtl_bert.data.sources.records import UNREADABLE, Columns, Record, Records, Source
from mtl_bert.data.table import DataError, MissingSplitError
from mtl_bert.data.token_cache import Fingerprint, digest, file_digest
from mtl_bert.tasks import Task

csv.field_size_limit(2**31 - 1)  # a text may be longer than the module's 128 KiB

KINDS = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive or a spreadsheet", b"BZh91AY": "bzip2"}
KINDS |= {b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "Parquet"}
KINDS |= {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""What files begin with that are not plain text."""


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: the character between two fields.
        quoting: ``minimal``: a field may stand in double quotes, those in it doubled, and then hold
            separators and line breaks. ``none``: a quote is a letter like others.
        header: whether the first line names the columns; else they are called 0, 1, 2 and so on.
        encoding: of the bytes, as Python calls it.
    """

    separator: str
    quoting: str = "minimal"
    header: bool = True
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        try:
            known = b"text".decode(self.encoding, "ignore") is not None
        except (LookupError, TypeError, ValueError):
            known = False
        one = isinstance(self.separator, str) and re.fullmatch('[^"\r\n\0]', self.separator)
        for name, fits, expected in (
            ("separator", one, 'one character, as "\\t"'),
            ("quoting", self.quoting in ("minimal", "none"), "minimal or none"),
            ("header", isinstance(self.header, bool), "true or false"),
            ("encoding", known, "an encoding, for example utf-8, utf-16, latin-1 or cp1252"),
        ):
            if not fits:
                raise ValueError(f"{name}: expected {expected}, found {getattr(self, name)!r}")


@dataclass(frozen=True)
class Delimited(Source):
    """A directory of delimited files, the splits of each task named in the task's file.

    A task's ``sources`` entry may say beside its files and columns how they are written: each
    attribute of ``Dialect``.

    Attributes:
        name: the key under a task's ``sources`` that says its files and columns.
        dir: the directory that file names are relative to; None stands for one not given.
        separator: between the fields; a task's own ``separator`` goes before it.
    """

    name: str
    dir: str | None
    separator: str = "\t"

    def __post_init__(self) -> None:
        if self.dir is None or not Path(self.dir).is_dir():
            there = self.dir is not None and Path(self.dir).exists()
            where = "" if self.dir is None else f" at {self.dir}"
            raise DataError(
                f"data.dir: expected the directory of the {self.name} files, found "
                f"{'a file' if there else 'nothing'}{where}; write data.dir=DIR"
            )

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """A digest of the file's bytes and of how they are read."""
        columns, dialect, path = self._locate(task, split)
        how = (dialect, columns, task.pair, task.head, split != "test")
        return Fingerprint(str(path), digest("delimited", path.name, file_digest(path), *how))

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Open the file of one split."""
        columns, dialect, path = self._locate(task, split)
        rows = _rows(_text(path, dialect.encoding), dialect)
        first = line, names, fault = next(rows, (1, [], "an empty file"))
        if not dialect.header:
            rows, names = chain([first], rows), [str(number) for number in range(len(names))]
        elif fault:
            raise DataError(
                f"{path} line {line}: expected a header line with column names, found {fault}; "
                "name another file, or write header: false, quoting: none or another encoding: in "
                f"task {task.name}'s file"
            )
        columns.check(task, names, str(path), labelled=labelled)
        records = (  # a broken row's fields as far as they go
            Record(f"{path.name} line {line}", dict(zip(names, row, strict=False)), fault)
            for line, row, fault in rows
        )
        return Records(columns, records, str(path))

    def _locate(self, task: Task, split: str) -> tuple[Columns, Dialect, Path]:
        file, settings = self._settings(task, split, "a file")
        how = {f.name: settings.pop(f.name) for f in fields(Dialect) if f.name in settings}
        try:
            dialect = Dialect(**{"separator": self.separator} | how)
        except ValueError as error:
            raise DataError(
                f"task {task.name}: sources.{self.name}.{error}; mend it in the task's file"
            ) from None
        columns, path = Columns.read(task, settings), Path(self.dir or ".") / file
        if not path.is_file():
            raise MissingSplitError(
                f"{path}: expected a data file of task {task.name}, found nothing",
                "put it there or write another data.dir",
            )
        return columns, dialect, path


def _text(path: Path, encoding: str) -> str:
    """The text of a file; bytes of another encoding become lone surrogates."""
    raw = path.read_bytes()
    found = next((kind for start, kind in KINDS.items() if raw.startswith(start)), None)
    for wide, zeros in (("utf-16-le", raw[1:32:2]), ("utf-16-be", raw[:32:2])):
        if zeros.count(0) > len(zeros) / 2:
            found = found or wide
    advice = "unpack it or write it as text"
    if found and found.startswith("utf"):
        advice = f"write encoding: {found} beside the file's name in the task's file"
        found = found.upper() if encoding == "utf-8" else None
    try:
        if not found:
            return raw.decode(encoding, "surrogateescape").removeprefix("\ufeff")
    except UnicodeError as error:
        found, advice = f"something else ({error})", "write another encoding: in the task's file"
    raise DataError(f"{path}: expected text in {encoding}, found {found}; {advice}")


def _rows(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str], str]]:
    """The line of each row, from 1, its fields, and what is wrong with it or an empty string."""
    # Whether a quote is closed in the last line is seen in a line after it.
    lines = [*io.StringIO(text, newline=""), "\n"]
    at = width = 0
    while at < len(lines):
        row, taken, doubt = _row(lines, at, width, dialect)
        for number in range(at, at + taken if doubt else at + 1):
            if not lines[number].strip() and dialect.separator not in lines[number]:
                continue
            fault = doubt
            if doubt:  # each of the lines by itself
                row = [field.strip('"') for field in _split(lines[number], dialect)]
            elif len(row) != (width := width or len(row)):
                fault = f"expected {width} fields, found {len(row)}"
            elif bad := UNREADABLE.search("".join(row)):
                encoding = dialect.encoding.upper()
                fault = "a NUL byte" if bad[0] == "\0" else f"text that is not {encoding}"
            width = width or len(row)
            yield number + 1, row, fault
        at += taken


def _split(line: str, dialect: Dialect) -> list[str]:
    return line.rstrip("\r\n").split(dialect.separator)


def _row(lines: list[str], at: int, width: int, dialect: Dialect) -> tuple[list[str], int, str]:
    """The fields of the row that begins in a line, its number of lines, and what is in doubt.

    A quote at the beginning of a field may be a letter of the text. It surely opens a quoted text
    where its end is the end of a field, the row has the right ``width``, and the first and last
    lines of the quoted text by themselves have not.
    """
    alone = _split(lines[at], dialect)
    if dialect.quoting == "none" or '"' not in lines[at]:
        return alone, 1, ""
    following = (lines[number] for number in range(at, len(lines)))
    reader = csv.reader(following, delimiter=dialect.separator, strict=True)
    try:
        row = next(reader)
    except csv.Error:
        if reader.line_num == 1:
            return alone, 1, "text after a closing quote"
        is_row = len(alone) == (width or len(alone))
        return alone, 1 if is_row else reader.line_num, "a quote that is not closed"
    taken, expected = reader.line_num, width or len(row)
    ends = {len(alone), len(_split(lines[at + taken - 1], dialect))}
    if taken > 1 and (len(row) != expected or ends == {expected}):
        where = f"lines {at + 1} to {at + taken}"
        return alone, taken, f"one text in quotes or several rows, {where}"
    for field in row:  # not quoted, or the quote would be doubled
        if '\\"' in field and field.replace('"', '""') not in "".join(lines[at : at + taken]):
            return alone, taken, "a backslash before a quote"
    return row, taken, ""
