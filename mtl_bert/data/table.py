"""Rows of one split of one task, as read and checked."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl_bert.tasks import Task
from mtl_bert.utils.errors import UserError


class DataError(UserError):
    """Data that cannot be used: one line that says where, what was expected, found, and to do."""


class MissingSplitError(DataError):
    """A split of a task that is not there.

    Args:
        problem: where, what was expected and found.
        advice: what to do.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem = problem


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used."""

    place: str
    reason: str

    def __str__(self) -> str:
        """Place and reason."""
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Table:
    """The usable rows of a split, in the file's order, N in number.

    Attributes:
        origin: the file or data set it came from.
        ids: what the file calls each row: [N].
        texts: one text or a pair for each row: [N].
        labels: [N] float64, or None where the split is unlabelled.
        skipped: the rows that could not be used.
        incomplete: rows that are here although something of them is missing or damaged.
    """

    origin: str
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.float64] | None
    skipped: tuple[BadRow, ...] = ()
    incomplete: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        """The number of usable rows."""
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """The table of some of the rows."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
        )


SURROGATE = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8

TRUTHS = {"True": "1", "False": "0"}  # as pandas writes them


@dataclass(frozen=True)
class Columns:
    """Where a task's fields stand in a record.

    Attributes:
        text: the column of the text, or the two of a pair.
        label: the column of the label.
        id: the column of the row's name; None names rows by their place.
    """

    text: Sequence[str]
    label: str
    id: str | None = None

    @classmethod
    def read(cls, task: Task, source: Mapping[str, Any]) -> "Columns":
        """Make the columns from what is left of a task's source, or raise DataError."""
        try:
            return cls(**source)
        except TypeError:
            raise DataError(
                f"task {task.name}: expected text, label and perhaps id among its columns, found "
                f"{', '.join(source) or 'none'}; mend sources: in the task's file"
            ) from None

    def check(self, task: Task, present: Iterable[str], origin: str, *, labelled: bool) -> None:
        """Raise DataError unless the columns fit the task and are present."""
        if isinstance(self.text, str) or len(self.text) != (2 if task.pair else 1):
            expected = "two text columns [a, b]" if task.pair else "one text column [a]"
            raise DataError(
                f"task {task.name}: expected {expected}, found {self.text!r}; "
                "mend text: in the task's file"
            )
        present = list(present)
        wanted = [*([self.id] if self.id else []), *self.text, *([self.label] if labelled else [])]
        missing = [column for column in wanted if column not in present]
        if missing:
            raise DataError(
                f"{origin}: expected the columns {', '.join(wanted)}, found "
                f"{', '.join(repr(c) for c in present) or 'none'}; "
                f"add {', '.join(missing)} or name another in task {task.name}'s file"
            )


@dataclass(frozen=True)
class Broken:
    """A record that cannot be trusted.

    Attributes:
        reason: what is wrong with it.
        fields: what it seems to hold.
    """

    reason: str
    fields: Mapping[str, object] = field(default_factory=dict)


Record = Mapping[str, object] | Broken


def build_table(
    task: Task,
    columns: Columns,
    records: Iterable[tuple[str, Record]],
    origin: str,
    *,
    labelled: bool,
) -> Table:
    """Check every record and keep the usable ones.

    Args:
        task: says what a label may be.
        columns: where the fields stand.
        records: each with its place.
        origin: the file or data set.
        labelled: whether a label is expected.

    Raises:
        DataError: where no usable row is left.
    """
    ids, texts, labels, skipped = [], [], [], []
    for place, record in records:
        try:
            if isinstance(record, Broken):
                raise ValueError(record.reason)
            row_texts = tuple(_text(record, column) for column in columns.text)
            label = _label(task, record, columns.label) if labelled else math.nan
            row_id = _text(record, columns.id) if columns.id else place
        except ValueError as reason:
            skipped.append(BadRow(place, str(reason)))
            continue
        ids.append(row_id)
        texts.append(row_texts)
        labels.append(label)
    _check_some(task, ids, skipped, origin)
    return Table(
        origin,
        tuple(ids),
        tuple(texts),
        np.array(labels, np.float64) if labelled else None,
        tuple(skipped),
    )


def build_named_table(
    task: Task, columns: Columns, records: Iterable[tuple[str, Record]], origin: str
) -> Table:
    """Keep every record that has an id, to predict it from what there is of it; no labels.

    Args:
        task: whose records they are.
        columns: where the fields stand.
        records: each with its place.
        origin: the file or data set.

    Raises:
        DataError: where no record has an id.
    """
    ids: list[str] = []
    texts: list[tuple[str, ...]] = []
    skipped, incomplete = [], []
    for place, record in records:
        fields = record.fields if isinstance(record, Broken) else record
        try:
            row_id = _id(fields, columns.id) if columns.id else place
        except ValueError as reason:
            skipped.append(BadRow(place, str(reason)))
            continue
        row_texts = tuple(_whatever(fields, column) for column in columns.text)
        missing = [c for c, text in zip(columns.text, row_texts, strict=True) if not text]
        if isinstance(record, Broken):
            incomplete.append(BadRow(place, record.reason))
        elif missing:
            incomplete.append(BadRow(place, f"{' and '.join(missing)} missing"))
        ids.append(row_id)
        texts.append(row_texts)
    _check_some(task, ids, skipped, origin)
    return Table(origin, tuple(ids), tuple(texts), None, tuple(skipped), tuple(incomplete))


def _check_some(task: Task, ids: Sequence[str], skipped: Sequence[BadRow], origin: str) -> None:
    if not ids:
        example = f" (the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"{origin}: expected rows for task {task.name}, found "
            f"{len(skipped)} and none that can be used{example}; name another file"
        )


def _id(fields: Mapping[str, object], column: str) -> str:
    """A row's name, which has to fit on a line and into a file."""
    text = _text({column: fields.get(column)}, column)
    if len(text.splitlines()) > 1 or SURROGATE.search(text):
        raise ValueError(f"{column} {ascii(text)[:40]} is not a name")
    return text


def _whatever(fields: Mapping[str, object], column: str) -> str:
    """What there is of a text, bytes that are not UTF-8 replaced."""
    value = fields.get(column)
    text = "" if value is None else str(value).strip()
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(record: Mapping[str, object], column: str) -> str:
    value = record[column]
    text = "" if value is None else str(value).strip()
    if not text:
        raise ValueError(f"{column} is missing")
    return text


def _label(task: Task, record: Mapping[str, object], column: str) -> float:
    text = _text(record, column)
    try:
        label = float(TRUTHS.get(text, text))
    except ValueError:
        raise ValueError(f"{column} {text[:40]!r} is not a number") from None
    problem = task.head.check(label)
    if problem:
        raise ValueError(problem)
    return label
