"""From a file's or data set's records to the checked rows of a task's split."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, Field, StrictBool, ValidationError

from mtl_bert.data.table import DataError, Table
from mtl_bert.data.token_cache import digest
from mtl_bert.tasks import SoftLabels, Task

BLOCK = 2**15  # rows
UNREADABLE = re.compile("[\ud800-\udfff\0]")  # surrogates stand for bytes of another encoding
# Which float() would take more of: 1_0, ١, nan.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
TRUTHS = {"True": "1", "False": "0"}  # as pandas writes them


class Place(BaseModel, extra="forbid", frozen=True, coerce_numbers_to_str=True):
    """What a task's file says of a source: its splits, and where the fields stand in a record."""

    train: str | None = Field(default=None, description="a file's or a split's name")
    dev: str | None = Field(default=None, description="a file's or a split's name")
    test: str | None = Field(default=None, description="a file's or a split's name")
    more: dict[str, str] = Field(
        default={}, description="further labelled sets, scored at the end: {NAME: a file or split}"
    )
    more_tests: dict[str, str] = Field(
        default={}, description="further sets to predict: {NAME: a file or split}"
    )
    text: list[str] = Field(description="a list with the column of the text, or the two of a pair")
    label: str | list[str] = Field(
        description="the column of the label, or a list with a column for each class"
    )
    label_separator: str = Field(
        default=",", min_length=1, description="what stands between several labels in one column"
    )
    blanks: StrictBool = Field(
        default=False, description="true leaves rows without a label out, as other tasks' own"
    )
    id: str | None = Field(default=None, description="the column of the row's name, or null")

    @property
    def labels(self) -> list[str]:
        """The columns of the label."""
        return self.label if isinstance(self.label, list) else [self.label]

    def of(self, task: Task, source: str, split: str) -> str:
        """What a split is called; DataError if it is not there."""
        further = self.more | self.more_tests
        if not (name := further.get(split) or getattr(self, split, None)):
            raise DataError(
                f"task {task.name}: expected sources.{source}.{split}, found none; add it to the "
                "task's file, or name other tasks, for example 'task=[sst,qqp]'"
            )
        return str(name)

    def check(self, task: Task, present: Sequence[str], origin: str, *, labelled: bool) -> None:
        """Raise DataError unless the columns fit the task, and are present, each once."""
        if len(self.text) != 1 + task.pair:
            expected = "two text columns [a, b]" if task.pair else "one text column [a]"
            raise DataError(
                f"task {task.name}: expected {expected}, found {self.text!r}; "
                "mend text: in the task's file"
            )
        head = task.head
        if isinstance(self.label, list) and not (
            head.per_class and len(self.label) == len(head.names)
        ):
            raise DataError(
                f"task {task.name}: expected one label column, or with a MultiLabel or SoftLabels "
                f"head one for each of its names, found {self.label!r}; mend label: in the task's "
                "file"
            )
        wanted = [*([self.id] if self.id else []), *self.text, *(self.labels if labelled else [])]
        if missing := [column for column in wanted if column not in present]:
            advice = f"add {', '.join(missing)} or name another"
            if len(present) == 1 and all(column in present[0] for column in wanted):
                advice = "write as separator: what stands between the names"
            raise DataError(
                f"{origin}: expected the columns {', '.join(wanted)}, found "
                f"{', '.join(repr(c) for c in present) or 'none'}; {advice} in task "
                f"{task.name}'s file"
            )
        for column in wanted:
            if len(alike := [repr(c) for c in present if c.strip() == column.strip()]) > 1:
                raise DataError(
                    f"{origin}: expected one column {column}, found {len(alike)} "
                    f"({', '.join(alike)}); rename the others or leave them out"
                )


P = TypeVar("P", bound=BaseModel)


def said(form: type[P], task: Task, source: str, **usual: Any) -> P:
    """What a task's file says of a source, where not the usual, or DataError in its words."""
    try:
        return form(**{**usual, **task.sources[source]})
    except ValidationError as error:
        first = error.errors()[0]
        key, found = str(first["loc"][0]), first["input"]
        expected = f"one of {', '.join(form.model_fields)}"
        if key in form.model_fields:
            expected = str(form.model_fields[key].description)
        raise DataError(
            f"task {task.name}: sources.{source}.{key}: expected {expected}, found "
            f"{'none' if first['type'] == 'missing' else repr(found)}; mend it in the task's file"
        ) from None


class Record(NamedTuple):
    """One record of a split."""

    place: str  # where it stands, for people
    fields: Mapping[str, object]  # what it holds, or seems to hold
    fault: str = ""  # why it cannot be trusted


class Records(NamedTuple):
    """An opened split, of which nothing has to be read yet."""

    place: Place  # where the fields stand in a record
    records: Iterable[Record]  # DataError where they cannot be read, or lack a column
    origin: str  # the file or data set
    content: Callable[[], Sequence[object]]  # what tells these records from others


class Source:
    """Somewhere that the tasks' data come from; each implements ``open``.

    Attributes:
        name: the key under a task's ``sources`` that says its splits and columns, and the name that
            results give the data.
        synthetic: whether the text is made up, which every number from it has to say.
    """

    name: str
    synthetic: ClassVar[bool] = False

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Open one split (train, dev or test) of a task, to read its records once.

        Raises:
            DataError, HubError: the split is not there or cannot be read.
        """
        raise NotImplementedError

    def fingerprint(self, task: Task, split: str) -> tuple[str, str]:
        """Where a split comes from, and a digest of all else that decides what ``read`` gives.

        UnknownContentError, if nothing short of reading tells what the split holds.
        """
        labelled = split != "test"
        place, _, origin, content = self.open(task, split, labelled=labelled)
        how = (type(self).__name__, place.model_dump(), task.head, labelled)
        return origin, digest(*how, *content())

    def read(self, task: Task, split: str, *, whole: bool = True) -> Table:
        """Read and check one split of a task; the test split has no labels.

        Rows that lack nothing are kept; if not ``whole``, all that have an id, without their
        labels, to predict them from what there is. DataError, if there are none.
        """
        return Table.joined(list(self.blocks(task, split, whole=whole)))

    def about(self, task: Task, split: str) -> int | None:
        """About how many records a split has, if that is known without reading them."""
        return None

    def blocks(self, task: Task, split: str, *, whole: bool = True) -> Iterator[Table]:
        """The same in tables of ``BLOCK`` rows, of which one at a time is in memory."""
        labelled = whole and split != "test"
        place, records, origin, _ = self.open(task, split, labelled=labelled)
        ids: list[str] = []
        texts: list[tuple[str, ...]] = []
        labels: list[float | list[float]] = []
        skipped: list[str] = []
        incomplete: list[str] = []
        read_label, found = _label_reader(task, place), 0

        def block() -> Table:
            known = np.array(labels, np.float64) if labelled else None
            held = (tuple(ids), tuple(texts), known, tuple(skipped), tuple(incomplete))
            for each in (ids, texts, labels, skipped, incomplete):
                each.clear()
            return Table(origin, *held)

        for at, fields, fault in records:
            if labelled and place.blanks and not any(_text(fields, c) for c in place.labels):
                continue
            fault = fault or next(filter(None, (unfit(fields, c) for c in place.text)), "")
            row_texts = tuple(_text(fields, column) for column in place.text)
            missing = [c for c, text in zip(place.text, row_texts, strict=True) if not text]
            try:
                if whole and (fault or missing):
                    raise ValueError(fault or f"{missing[0]} is missing")
                label = read_label(fields) if labelled else math.nan
                row_id = _needed(fields, place.id) if place.id else at
                no_name = len(row_id.splitlines()) > 1 or UNREADABLE.search(row_id)
                if no_name and place.id and not whole:  # a file of predictions has to hold it
                    raise ValueError(f"{place.id} {ascii(row_id)[:40]} is not a name")
            except ValueError as reason:
                skipped.append(f"{at}: {reason}")
                continue
            if fault or missing:
                incomplete.append(f"{at}: {fault or ' and '.join(missing) + ' missing'}")
            if fault:
                row_texts = tuple(UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", t) for t in row_texts)
            ids.append(row_id)
            texts.append(row_texts)
            labels.append(label)
            if len(ids) == BLOCK:
                found += BLOCK
                yield block()
        if not found and not ids:
            example = f" (the first: {skipped[0]})" if skipped else ""
            raise DataError(
                f"{origin}: expected rows for task {task.name}, found "
                f"{len(skipped)} and none that can be used{example}; name another file"
            )
        if ids or skipped:
            yield block()


def unfit(fields: Mapping[str, object], column: str) -> str:
    """Why a record's field cannot be a text, or an empty string."""
    value = fields.get(column)
    if isinstance(value, list | tuple | dict):
        return f"{column} is a {type(value).__name__}, not a text"
    if isinstance(value, str) and (bad := UNREADABLE.search(value)):
        return f"{column} has {'a NUL byte' if bad[0] == chr(0) else 'half a character'} in it"
    return ""


def _text(fields: Mapping[str, object], column: str) -> str:
    value = fields.get(column)
    return "" if value is None else str(value).strip()


def _needed(fields: Mapping[str, object], column: str) -> str:
    if not (text := _text(fields, column)):
        raise ValueError(f"{column} is missing")
    return text


def _label_reader(
    task: Task, place: Place
) -> Callable[[Mapping[str, object]], float | list[float]]:
    """What reads a record's label, a number or one for each class, or raises ValueError."""
    head, classes = task.head, {name: n for n, name in enumerate(task.head.names)}
    # Where a name is a number, numbers are what the labels say; else they count the names from 0.
    of_values = {float(n): place for n, place in classes.items() if NUMBER.fullmatch(n)}

    def number(text: str, column: str) -> float:
        if text in classes and not head.per_class:
            return float(classes[text])
        value = TRUTHS.get(text, text)
        if not NUMBER.fullmatch(value):
            names = f" or one of {', '.join(classes)}" if classes and not head.per_class else ""
            raise ValueError(f"{column} {text[:40]!r} is not a number{names}")
        if (label := float(value)) in of_values and not head.per_class:
            return float(of_values[label])
        problem = head.check(label)
        if of_values and not head.per_class:
            problem = f"label {text[:40]} is none of {', '.join(classes)}"
        if problem:
            raise ValueError(problem)
        return label

    def one(fields: Mapping[str, object]) -> float:
        (column,) = place.labels
        return number(_needed(fields, column), column)

    def of_each_class(fields: Mapping[str, object]) -> list[float]:
        found = [number(_needed(fields, column), column) for column in place.labels]
        if isinstance(head, SoftLabels) and abs(sum(found) - 1) > 1e-3:
            raise ValueError(f"the labels add up to {sum(found):g} and not to 1")
        return found

    def listed(fields: Mapping[str, object]) -> list[float]:
        (column,) = place.labels
        value = fields.get(column)
        several = value if isinstance(value, list | tuple) else None
        if several is None:
            several = _needed(fields, column).split(place.label_separator)
        names = {str(each).strip() for each in several} - {""}
        if unknown := sorted(names - classes.keys()):
            raise ValueError(f"{column} {unknown[0][:40]!r} is none of {', '.join(classes)}")
        return [float(name in names) for name in classes]

    if not head.per_class:
        return one
    return listed if isinstance(place.label, str) else of_each_class
