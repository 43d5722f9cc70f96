"""Answers to a file of texts, a chunk at a time: the file may be larger than memory.

Read are CSV (separated as its header is: by tabs, commas, ; or |), JSON lines and Parquet, told
apart by how they begin; written are CSV and JSON lines. Every row keeps its columns and gets the
answers'.
"""

import csv
import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from mtl_bert.data.sources.columnar import json_lines, parquet
from mtl_bert.data.sources.records import Record, unfit
from mtl_bert.data.table import DataError, Table
from mtl_bert.runs.factories import make_tasks
from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line, printable
from mtl_bert.utils.files import replacing

CHUNK = 8192  # rows that are in memory at once: enough to put texts of the same length together
STANDARD = "-"  # standard input or output
TABLES, LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
SEPARATORS = "\t,;|"  # of which the first that a header has stands between its columns
SHOWN = 3  # rows without a text that a message names
Row = Mapping[str, object]

csv.field_size_limit(2**31 - 1)  # a text may be longer than the module's 128 KiB


@dataclass(frozen=True)
class TextFile:
    """A file of rows, which can be read as often as one likes.

    Attributes:
        name: what people call it.
        path: where it lies.
    """

    name: str
    path: Path

    @cached_property
    def form(self) -> str:
        """What its first bytes say it is: parquet, jsonl or csv."""
        with self.path.open("rb") as file:
            start = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"PAR1"):
            return "parquet"
        return "jsonl" if start.startswith(b"{") else "csv"

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each row, and where it stands; DataError for the first that cannot be read."""
        read, at = {"parquet": parquet, "jsonl": json_lines, "csv": _delimited}[self.form], ""
        try:
            for place, fields, fault in read(self.path)[1]:
                if fault:
                    raise ValueError(f"{fault} in {place}")
                yield (at := place.removeprefix(f"{self.path.name} ")), fields
        except (ValueError, csv.Error) as error:  # bytes that are not UTF-8 among them
            where = f" after {at}" if at else ""
            raise DataError(
                f"{self.name}{where}: expected rows of one form, found {first_line(error)}; "
                "mend the file"
            ) from error


def _delimited(path: Path) -> tuple[list[str], Iterator[Record]]:
    """As ``data.sources`` reads the other forms.

    Its reader of delimited files leaves rows in doubt out; here every row has to be answered.
    """
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = text.readline()
    separator = next((each for each in SEPARATORS if each in first), ",")
    (names,) = csv.reader([first], delimiter=separator)
    if len(set(names)) < len(names):
        raise ValueError(f"several columns of one name in {', '.join(names)}")

    def records() -> Iterator[Record]:
        with path.open(encoding="utf-8-sig", newline="") as text:
            text.readline()
            reader = csv.reader(text, delimiter=separator, strict=True)
            for row in filter(None, reader):
                other = len(row) != len(names)
                fault = f"{len(row)} fields for {len(names)} columns" if other else ""
                place = f"{path.name} line {reader.line_num + 1}"
                yield Record(place, dict(zip(names, row, strict=False)), fault)

    return names, records()


class Question(NamedTuple):
    """What a first look at a file tells, before any model is loaded."""

    rows: int
    columns: list[str]  # all that there are
    texts: tuple[str, ...]  # those of the text, or of the two of a pair
    tasks: list[Task]  # that answer

    def texts_of(self, row: Row) -> tuple[str, ...]:
        """The text of a row, or the two of a pair; empty ones where there are none."""
        values = (row.get(name) for name in self.texts)
        return tuple("" if value is None else str(value).strip() for value in values)

    def check(self, name: str, at: str, row: Row) -> None:
        """Raise DataError for a row whose text is none."""
        for column in self.texts:
            if fault := unfit(row, column):
                raise DataError(f"{name} {at}: expected a text, found that {fault}; mend the row")


def look(given: TextFile, tasks: Sequence[Task], columns: Sequence[str], few: bool) -> Question:
    """Read a file once, and find the columns of text and the tasks that they are for.

    Args:
        few: whether tasks that take another number of texts are left out instead of refused.

    Raises:
        DataError: rows that cannot be read, none at all, or other columns.
    """
    present: dict[str, None] = {}
    count = 0
    for _, row in given.rows():
        present |= dict.fromkeys(row)
        count += 1
    if not count:
        header = given.form == "csv" and given.path.stat().st_size > 0
        raise DataError(
            f"{given.name}: expected a line with the columns' names, then rows, found one line; "
            "begin with the line text"
            if header
            else f"{given.name}: expected rows, found none; name another file"
        )
    ways = [tuple(columns)] if columns else []
    if not columns:
        pairs = sorted({task.pair for task in tasks}, reverse=True)
        ways = [("text", "text2")[: 1 + pair] for pair in pairs]
        ways += [tuple(of.get("text", [""])) for t in tasks for of in t.sources.values()]
    texts = next((way for way in ways if set(way) <= set(present)), None)
    if texts is None:
        told = " or ".join(dict.fromkeys(", ".join(way) for way in ways if way != ("",)))
        raise DataError(
            f"{given.name}: expected the columns {told}, found "
            f"{', '.join(map(repr, present))}; write one of these after "
            f"{'--text-column' if len(ways[0]) == 1 else '--text-column and --text2-column'}"
        )
    fitting = [task for task in tasks if 1 + task.pair == len(texts)]
    if len(fitting) < (1 if few else len(tasks)):
        other = next(task for task in tasks if task not in fitting)
        raise DataError(
            f"{given.name}: expected {1 + other.pair} columns of text for {other.name}, found "
            f"{', '.join(texts)}; write {'--text2-column' if other.pair else 'another --task'}"
        )
    return Question(count, list(present), texts, fitting)


def predict_file(
    opened: OpenedRun,
    names: Sequence[str] | None,
    source: str,
    target: str,
    columns: Sequence[str] = (),
    *,
    probabilities: bool = False,
) -> list[str]:
    """Write the rows of a file, in its order, with the answers of some tasks.

    A task adds TASK_prediction and, if it has classes, TASK_name and TASK_confidence.

    Args:
        names: the tasks that answer, each text once for all of them; None stands for all that take
            as many texts as there are columns of text.
        source: a file's name, or - for standard input.
        target: a file's name, which appears when it is whole, or - for standard output.
        columns: of the text, or of the two of a pair; none stands for text, or text and text2, or
            what the tasks' training data call them.
        probabilities: whether to add TASK_p_CLASS for each class.

    Returns:
        What there is to say of it.

    Raises:
        UserError, OSError: rows or a model that cannot be had, or nowhere to write.
    """
    suffix = Path(target).suffix.lower()
    if target != STANDARD and suffix not in TABLES + LINES:
        raise DataError(
            f"output: expected a name that ends in {', '.join(TABLES + LINES)}, or -, found "
            f"{target}; write answers.csv"
        )
    tasks = [task for task in make_tasks(opened.settings) if names is None or task.name in names]
    with ExitStack() as stack:
        given = TextFile(source, Path(source))
        if source == STANDARD:
            place = stack.enter_context(tempfile.TemporaryDirectory())
            given = TextFile("standard input", Path(place) / "standard input")
            with given.path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        question = look(given, tasks, columns, few=names is None)
        lines = suffix in LINES or (target == STANDARD and given.form == "jsonl")
        loaded = opened.predictor  # where none loads, no temporary file is made
        if target == STANDARD:
            write: Callable[[str], object] = _show
        else:
            new = stack.enter_context(replacing(Path(target)))
            write = stack.enter_context(new.open("w", encoding="utf-8", newline="")).write
        bar = stack.enter_context(tqdm(total=question.rows, unit=" texts", disable=None))
        rows, done, cut, empty = given.rows(), 0, Counter[int](), list[str]()
        while chunk := list(islice(rows, CHUNK)):
            for at, row in chunk:
                question.check(given.name, at, row)
            ids, texts = zip(*((at, question.texts_of(row)) for at, row in chunk), strict=True)
            empty += [at for at, each in zip(ids, texts, strict=True) if not all(each)]
            outputs = dict[str, Tensor]()
            for limit in dict.fromkeys(task.max_length for task in question.tasks):
                alike = [task.name for task in question.tasks if task.max_length == limit]
                tokenize = loaded.tokenize.up_to(limit)
                encoded = tokenize(Table(given.name, ids, texts, None))
                cut[tokenize.max_length] += encoded.truncated
                outputs |= loaded.outputs_of(alike, encoded)
            added = {
                f"{task.name}_{kind}": values
                for task in question.tasks
                for kind, values in _columns(task, outputs[task.name], probabilities).items()
            }
            if taken := [name for name in added if name in question.columns]:
                raise DataError(
                    f"{given.name}: expected no column {taken[0]}, which answers have, found one; "
                    "rename it"
                )
            answers = zip(*added.values(), strict=True)
            whole: list[Mapping[str, object]] = [
                {**row, **dict(zip(added, each, strict=True))}
                for (_, row), each in zip(chunk, answers, strict=True)
            ]
            if lines:
                write("".join(json.dumps(r, ensure_ascii=False, default=str) + "\n" for r in whole))
            else:
                columns = [*question.columns, *added]
                write(_delimited_text(whole, columns, "\t" if suffix == ".tsv" else ",", not done))
            done += len(chunk)
            bar.update(len(chunk))
    left_out = [task.name for task in tasks if task not in question.tasks]
    takes = "two texts" if len(question.texts) == 1 else "one text"
    remarks = [f"{given.name}: {task} takes {takes} and did not answer" for task in left_out]
    remarks += [
        f"{given.name}: {count:,} texts were cut at {limit} tokens"
        for limit, count in cut.items()
        if count
    ]
    if empty:
        first = ", ".join([*empty[:SHOWN], *(["…"] if len(empty) > SHOWN else [])])
        lack = f"{len(empty):,} of {question.rows:,} rows lack a text ({first})"
        remarks.append(f"{given.name}: {lack}; they are answered from what there is")
    return remarks


def _columns(task: Task, outputs: Tensor, probabilities: bool) -> dict[str, list[Any]]:
    """A task's columns by the ends of their names."""
    head = task.head
    predictions = head.predict(outputs)
    if not head.names:
        return {"prediction": _short(predictions)}
    numbers = predictions.tolist()
    names = list(map(head.called, numbers))
    found = {"prediction": numbers, "name": names, "confidence": _short(head.confidence(outputs))}
    if probabilities:
        chances = map(_short, head.probabilities(outputs).T)
        found |= dict(zip([f"p_{name}" for name in head.names], chances, strict=True))
    return found


def _short(values: Tensor) -> list[float]:
    """Single-precision numbers with the digits that they have."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def _delimited_text(rows: Sequence[Row], columns: list[str], separator: str, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=separator, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(text: str) -> None:
    """Write to standard output: as it is, unless that is a terminal, which would obey it."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
