"""Comma- or tab-separated files, as people really have them.

What a file may mean in two ways is reported by line and never repaired: quotes that are not
closed or stray, lines with too few or too many fields, bytes of another encoding.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

from mtl_bert.data.sources.records import UNREADABLE, Columns, Record, Records, Source
from mtl_bert.data.table import DataError, MissingSplitError
from mtl_bert.data.token_cache import Fingerprint, digest, file_digest
from mtl_bert.tasks import Task

csv.field_size_limit(2**31 - 1)  # a text may be longer than the module's 128 KiB

PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh91AY": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
}
"""What files begin with that are not text."""


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
        separator, known = self.separator, True
        try:
            b"text".decode(self.encoding, "ignore")
        except (LookupError, TypeError, ValueError):
            known = False
        one = isinstance(separator, str) and len(separator) == 1 and separator not in '"\r\n\0'
        for name, fits, expected in (
            ("separator", one, 'one character, for example "\\t" or ","'),
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
        columns, dialect, path = self._locate(task, split)
        how = (dialect, columns, task.pair, task.head, split != "test")
        return Fingerprint(str(path), digest("delimited", path.name, file_digest(path), *how))

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Open the file of one split."""
        columns, dialect, path = self._locate(task, split)
        rows = _rows(_text(path, dialect.encoding), dialect)
        line, names, fault = next(rows, (1, [], "an empty file"))
        if dialect.header:
            if fault:
                raise DataError(
                    f"{path} line {line}: expected the names of the columns, found {fault}; name "
                    "another file, or write header: false, quoting: none or another encoding: in "
                    "the task's file"
                )
        else:
            rows = chain([(line, names, fault)], rows)
            names = [str(number) for number in range(len(names))]
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
    if found := next((kind for magic, kind in PACKED.items() if raw.startswith(magic)), None):
        raise DataError(f"{path}: expected text, found {found}; unpack it or write it as text")
    one_byte = len("xx".encode(encoding)) - len("x".encode(encoding)) == 1
    if one_byte and (wide := _wide(raw[:32])):
        raise DataError(
            f"{path}: expected text in {encoding}, found {wide.upper()}; write encoding: {wide} "
            "beside the file's name in the task's file"
        )
    try:
        return raw.decode(encoding, "surrogateescape").removeprefix("\ufeff")
    except UnicodeError as error:
        raise DataError(
            f"{path}: expected text in {encoding}, found something else ({error}); write another "
            "encoding: in the task's file"
        ) from None


def _wide(start: bytes) -> str:
    """The encoding of text of two or four bytes a letter, or an empty string."""
    for name, marks in (
        ("utf-32", (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
        ("utf-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
    ):
        if start.startswith(marks):
            return name
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if zeros.count(0) > len(start) / 4:
            return name
    return ""


def _rows(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str], str]]:
    """The line of each row, from 1, its fields, and what is wrong with it or an empty string."""
    # Whether a quote is closed in the last line is seen in a line after it.
    lines = [*io.StringIO(text, newline=""), "\n"]
    at = width = 0
    while at < len(lines):
        taken, row, fault = _row(lines, at, width, dialect)
        for number in range(at, at + taken if fault else at + 1):
            if not lines[number].strip() and dialect.separator not in lines[number]:
                continue
            fields = row
            if fault:  # each of the lines to the letter
                fields = [field.strip('"') for field in _split(lines[number], dialect)]
            width = width or len(fields)
            yield number + 1, fields, fault or _fault(fields, width, dialect.encoding)
        at += taken


def _fault(row: list[str], width: int, encoding: str) -> str:
    """What is wrong with a row that can be read in one way only, or an empty string."""
    if len(row) != width:
        return f"expected {width} fields, found {len(row)}"
    if not (unreadable := UNREADABLE.search("".join(row))):
        return ""
    return "a NUL byte" if unreadable[0] == "\0" else f"text that is not {encoding.upper()}"


def _split(line: str, dialect: Dialect) -> list[str]:
    return line.rstrip("\r\n").split(dialect.separator)


def _row(lines: list[str], at: int, width: int, dialect: Dialect) -> tuple[int, list[str], str]:
    """How many lines the row takes that begins in one, its fields, and whether that is in doubt.

    A quote that opens a field may be a stray one. It is none where it is closed, an end of a field
    follows, and the lines by themselves are no rows.
    """
    alone = _split(lines[at], dialect)
    if dialect.quoting == "none" or '"' not in lines[at]:
        return 1, alone, ""
    following = (lines[number] for number in range(at, len(lines)))
    reader = csv.reader(following, delimiter=dialect.separator, strict=True)
    try:
        row = next(reader)
    except csv.Error:
        if reader.line_num == 1:
            return 1, alone, "text after a closing quote"
        taken = 1 if len(alone) == width else reader.line_num
        return taken, alone, "a quote that is not closed"
    taken, expected = reader.line_num, width or len(row)
    if taken > 1:
        ends = {len(alone), len(_split(lines[at + taken - 1], dialect))}
        if len(row) != expected or ends == {expected}:
            span = f"lines {at + 1} to {at + taken}"
            return taken, alone, f"one text in quotes or rows with stray quotes in {span}"
    whole = "".join(lines[at : at + taken])
    for field in row:
        if '\\"' in field and '"{}"'.format(field.replace('"', '""')) not in whole:
            return taken, alone, "a backslash before a quote"
    return taken, row, ""
