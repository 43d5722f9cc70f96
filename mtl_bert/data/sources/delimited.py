"""Comma- or tab-separated files, as people really have them.

What a file may mean in two ways is reported by line and never repaired: quotes that are not
closed or stray, lines with too few or too many fields, bytes of another encoding.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from mtl_bert.data.sources.records import UNREADABLE, Place, Record, Records, Source, said
from mtl_bert.data.table import DataError
from mtl_bert.data.token_cache import file_digest
from mtl_bert.tasks import Task

csv.field_size_limit(2**31 - 1)  # a text may be longer than the module's 128 KiB

KINDS = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive or a spreadsheet", b"BZh91AY": "bzip2"}
KINDS |= {b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "Parquet"}
KINDS |= {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""What files begin with that are not plain text."""


def _encoding(name: str) -> str:
    try:
        b"text".decode(name, "ignore")
    except LookupError as error:
        raise ValueError(name) from error
    return name


class FilePlace(Place, frozen=True):
    """The files of a task, and how they are written.

    With minimal quoting a field may stand in double quotes, those in it doubled, and then hold
    separators and line breaks; with none, a quote is a letter like others. Without a header columns
    are called 0, 1, 2 and so on.
    """

    separator: str = Field(pattern='^[^"\r\n\0]$', description='one character, as "\\t"')
    quoting: Literal["minimal", "none"] = Field(default="minimal", description="minimal or none")
    header: StrictBool = Field(default=True, description="true or false")
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8", description="an encoding, for example utf-8, utf-16, latin-1 or cp1252"
    )


@dataclass(frozen=True)
class Delimited(Source):
    """A directory of delimited files, the splits of each task named in the task's file.

    A task's ``sources`` entry is a ``FilePlace``.

    Attributes:
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

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Find the file of one split."""
        place = said(FilePlace, task, self.name, separator=self.separator)
        path = Path(self.dir or ".") / place.of(task, self.name, split)
        if not path.is_file():
            raise DataError(
                f"{path}: expected a data file of task {task.name}, found nothing; "
                "put it there, write another data.dir or leave the task out"
            )
        records = _records(task, place, path, labelled=labelled)
        return Records(place, records, str(path), lambda: (path.name, file_digest(path)))


def _records(task: Task, place: FilePlace, path: Path, *, labelled: bool) -> Iterator[Record]:
    rows = _rows(_text(path, place.encoding), place)
    first = line, names, fault = next(rows, (1, [], "an empty file"))
    if not place.header:
        rows, names = chain([first], rows), [str(number) for number in range(len(names))]
    elif fault:
        raise DataError(
            f"{path} line {line}: expected a header line with column names, found {fault}; "
            "name another file, or write header: false, quoting: none or another encoding: in "
            f"task {task.name}'s file"
        )
    place.check(task, names, str(path), labelled=labelled)
    for line, row, fault in rows:  # of a broken row the fields as far as they go
        yield Record(f"{path.name} line {line}", dict(zip(names, row, strict=False)), fault)


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


def _rows(text: str, place: FilePlace) -> Iterator[tuple[int, list[str], str]]:
    """The line of each row, from 1, its fields, and what is wrong with it or an empty string."""
    # Whether a quote is closed in the last line is seen in a line after it.
    lines = [*io.StringIO(text, newline=""), "\n"]
    at = width = 0
    while at < len(lines):
        row, taken, doubt = _row(lines, at, width, place)
        for number in range(at, at + taken if doubt else at + 1):
            if not lines[number].strip() and place.separator not in lines[number]:
                continue
            fault = doubt
            if doubt:  # each of the lines by itself
                row = [field.strip('"') for field in _split(lines[number], place)]
            elif len(row) != (width := width or len(row)):
                fault = f"expected {width} fields, found {len(row)}"
            elif bad := UNREADABLE.search("".join(row)):
                encoding = place.encoding.upper()
                fault = "a NUL byte" if bad[0] == "\0" else f"text that is not {encoding}"
            width = width or len(row)
            yield number + 1, row, fault
        at += taken


def _split(line: str, place: FilePlace) -> list[str]:
    return line.rstrip("\r\n").split(place.separator)


def _row(lines: list[str], at: int, width: int, place: FilePlace) -> tuple[list[str], int, str]:
    """The fields of the row that begins in a line, its number of lines, and what is in doubt.

    A quote at the beginning of a field may be a letter of the text. It surely opens a quoted text
    where its end is the end of a field, the row has the right ``width``, and the first and last
    lines of the quoted text by themselves have not.
    """
    alone = _split(lines[at], place)
    if place.quoting == "none" or '"' not in lines[at]:
        return alone, 1, ""
    following = (lines[number] for number in range(at, len(lines)))
    reader = csv.reader(following, delimiter=place.separator, strict=True)
    try:
        row = next(reader)
    except csv.Error:
        if reader.line_num == 1:
            return alone, 1, "text after a closing quote"
        is_row = len(alone) == (width or len(alone))
        return alone, 1 if is_row else reader.line_num, "a quote that is not closed"
    taken, expected = reader.line_num, width or len(row)
    ends = {len(alone), len(_split(lines[at + taken - 1], place))}
    if taken > 1 and (len(row) != expected or ends == {expected}):
        where = f"lines {at + 1} to {at + taken}"
        return alone, taken, f"one text in quotes or several rows, {where}"
    for field in row:  # not quoted, or the quote would be doubled
        if '\\"' in field and field.replace('"', '""') not in "".join(lines[at : at + taken]):
            return alone, taken, "a backslash before a quote"
    return row, taken, ""
