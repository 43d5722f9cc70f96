"""Comma- or tab-separated files, JSON lines and Parquet, as people really have them.

What a delimited file may mean in two ways is reported by line and never repaired: quotes that are
not closed or stray, lines with too few or too many fields, bytes of another encoding.
"""

import csv
import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, count, islice, takewhile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from mtl_bert.data.sources.columnar import json_lines, parquet
from mtl_bert.data.sources.records import UNREADABLE, Place, Record, Records, Source, said
from mtl_bert.data.table import DataError
from mtl_bert.data.token_cache import file_digest
from mtl_bert.tasks import Task

log = logging.getLogger(__name__)
csv.field_size_limit(2**31 - 1)  # a text may be longer than the module's 128 KiB

HELD, AHEAD = 10_000, 1_000  # lines of a file that are in memory at least, and read at a time

TABBED = (".tsv", ".tab")
"""Names of files whose fields are separated by tabs, where nothing else is said."""

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
    """The files of a task, and how they are written; .jsonl and .parquet say so by their names.

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
    dev_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="the share of the training file that is the dev set, where that has no file",
    )

    @property
    def shared(self) -> bool:
        """Whether one file has the training and the dev set."""
        return self.dev is None and self.dev_share is not None

    def is_in(self, split: str, fields: Mapping[str, object]) -> bool:
        """Whether a row of a shared file is in a split: rows with the same text are together."""
        text = "\0".join(str(fields.get(column)) for column in self.text)
        held_out = zlib.crc32(text.encode("utf-8", "surrogatepass")) < (self.dev_share or 0) * 2**32
        return held_out == (split == "dev")


@dataclass(frozen=True)
class Delimited(Source):
    """A directory of delimited files, the splits of each task named in the task's file.

    A task's ``sources`` entry is a ``FilePlace``.

    Attributes:
        dir: the directory that file names are relative to; None stands for one not given.
        separator: between the fields; a task's own ``separator`` goes before it. None is a tab in
            .tsv and .tab files, and a comma in others.
    """

    name: str
    dir: str | None
    separator: str | None = None

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
        place, path, shared = self._place(task, split)
        if not path.is_file():
            raise DataError(
                f"{path}: expected a data file of task {task.name}, found nothing; "
                "put it there, write another data.dir or leave the task out"
            )
        content = [path.name, *([split] if shared else [])]
        origin = f"{path} ({split})" if shared else str(path)

        def records() -> Iterator[Record]:
            settings = "header: false, quoting: none or another encoding:"
            names, found = read_file(path, place, f"write {settings} in task {task.name}'s file")
            place.check(task, names, str(path), labelled=labelled)
            for record in found:
                if not shared or place.is_in(split, record.fields):
                    yield record

        return Records(place, records(), origin, lambda: [*content, file_digest(path)])

    def about(self, task: Task, split: str) -> int | None:
        """The lines of the file."""
        place, path, shared = self._place(task, split)
        if path.suffix == ".parquet":
            return None
        with path.open("rb") as file:
            lines = sum(part.count(b"\n") for part in iter(partial(file.read, 2**20), b""))
        share = place.dev_share or 0.0
        return round(lines * ((share if split == "dev" else 1 - share) if shared else 1))

    def _place(self, task: Task, split: str) -> tuple[FilePlace, Path, bool]:
        """How a split's file is written, where it is, and whether another split shares it."""
        place = said(FilePlace, task, self.name, separator=self.separator or ",")
        shared = place.shared and split != "test"
        file = place.of(task, self.name, "train" if shared else split)
        path = _found(Path(self.dir or "."), file)
        named = self.separator is None and "separator" not in task.sources[self.name]
        if named and path.suffix in TABBED:
            place = place.model_copy(update={"separator": "\t"})
        return place, path, shared


def _found(directory: Path, name: str) -> Path:
    """A file; where it is not, the one in the directory whose place ends most like its name."""
    path, parts = directory / name, Path(name).parts
    if not path.is_file():
        for moved in (directory.joinpath(*parts[start:]) for start in range(1, len(parts))):
            if moved.is_file():
                _tell_moved(path, moved)
                return moved
    return path


@cache
def _tell_moved(named: Path, found: Path) -> None:
    log.warning("%s is not there; reading %s in its place", named, found)


def read_file(path: Path, place: FilePlace, advice: str) -> tuple[list[str], Iterator[Record]]:
    """The names of a file's columns, and its records, read as they are asked for.

    DataError, if it cannot be read, with ``advice`` for a header that is none.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        return json_lines(path)
    if path.suffix == ".parquet":
        return parquet(path)
    rows = _rows(_Lines(_text(path, place.encoding)), place)
    first = line, names, fault = next(rows, (1, [], "an empty file"))
    if not place.header:
        rows, names = chain([first], rows), [str(number) for number in range(len(names))]
    elif fault:
        raise DataError(
            f"{path} line {line}: expected a header line with column names, found {fault}; "
            f"name another file, or {advice}"
        )
    # Of a broken row the fields as far as they go.
    return names, (
        Record(f"{path.name} line {line}", dict(zip(names, row, strict=False)), fault)
        for line, row, fault in rows
    )


def _text(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a file; bytes of another encoding become lone surrogates."""
    with path.open("rb") as file:
        start = file.read(32)
    found = next((kind for begin, kind in KINDS.items() if start.startswith(begin)), None)
    for wide, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if zeros.count(0) > len(zeros) / 2:
            found = found or wide
    advice = "unpack it or write it as text"
    if found and found.startswith("utf"):
        advice = f"write encoding: {found} beside the file's name in the task's file"
        found = found.upper() if encoding == "utf-8" else None
    try:
        if not found:
            with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
                yield next(text, "").removeprefix("\ufeff")
                yield from text
            return
    except UnicodeError as error:
        found, advice = f"something else ({error})", "write another encoding: in the task's file"
    raise DataError(f"{path}: expected text in {encoding}, found {found}; {advice}")


class _Lines:
    """A file's lines by their numbers, from 0, read when they are asked for."""

    def __init__(self, coming: Iterator[str]) -> None:
        # Whether a quote is closed in the last line is seen in a line after it.
        self._coming, self._held, self._first = chain(filter(None, coming), ["\n"]), list[str](), 0

    def has(self, number: int) -> bool:
        """Whether there is such a line."""
        missing = number - self._first - len(self._held)
        if missing >= 0:
            self._held += islice(self._coming, missing + AHEAD)
        return number < self._first + len(self._held)

    def __getitem__(self, number: int) -> str:
        if number - self._first < len(self._held) or self.has(number):
            return self._held[number - self._first]
        return ""

    def following(self, number: int) -> Iterator[str]:
        """The lines from a number on."""
        return (self[number] for number in takewhile(self.has, count(number)))

    def forget(self, before: int) -> None:
        """Drop lines that will not be asked for again; many at once, as each time takes long."""
        if before - self._first >= HELD:
            del self._held[: before - self._first]
            self._first = before


def _rows(lines: _Lines, place: FilePlace) -> Iterator[tuple[int, list[str], str]]:
    """The line of each row, from 1, its fields, and what is wrong with it or an empty string."""
    at = width = 0
    while lines.has(at):
        lines.forget(at)
        row, taken, doubt = _row(lines, at, width, place)
        for number in range(at, at + taken if doubt else at + 1):
            if not (line := lines[number]).strip() and place.separator not in line:
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


def _row(lines: _Lines, at: int, width: int, place: FilePlace) -> tuple[list[str], int, str]:
    """The fields of the row that begins in a line, its number of lines, and what is in doubt.

    A quote at the beginning of a field may be a letter of the text. It surely opens a quoted text
    where its end is the end of a field, the row has the right ``width``, and the first and last
    lines of the quoted text by themselves have not.
    """
    alone = _split(line := lines[at], place)
    if place.quoting == "none" or '"' not in line:
        return alone, 1, ""
    reader = csv.reader(lines.following(at), delimiter=place.separator, strict=True)
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
        if '\\"' in field and field.replace('"', '""') not in "".join(
            islice(lines.following(at), taken)
        ):
            return alone, taken, "a backslash before a quote"
    return row, taken, ""
