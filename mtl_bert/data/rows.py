"""From a record of strings to a checked row; the same rules for files and for hub data sets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl_bert.data.table import BadRow, DataError, Table
from mtl_bert.tasks import Task

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


def build_table(
    task: Task,
    columns: Columns,
    records: Iterable[tuple[str, Mapping[str, object] | str]],
    origin: str,
    *,
    labelled: bool,
) -> Table:
    """Check every record and keep the usable ones.

    Args:
        task: says what a label may be.
        columns: where the fields stand.
        records: place, and the record or the reason why there is none.
        origin: the file or data set.
        labelled: whether a label is expected.

    Raises:
        DataError: where no usable row is left.
    """
    ids, texts, labels, skipped = [], [], [], []
    for place, record in records:
        try:
            if isinstance(record, str):
                raise ValueError(record)
            row_texts = tuple(_text(record, column) for column in columns.text)
            label = _label(task, record, columns.label) if labelled else math.nan
            row_id = _text(record, columns.id) if columns.id else place
        except ValueError as reason:
            skipped.append(BadRow(place, str(reason)))
            continue
        ids.append(row_id)
        texts.append(row_texts)
        labels.append(label)
    if not ids:
        example = f" (the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"{origin}: expected rows for task {task.name}, found "
            f"{len(skipped)} and none that can be used{example}; name another file"
        )
    return Table(
        origin,
        tuple(ids),
        tuple(texts),
        np.array(labels, np.float64) if labelled else None,
        tuple(skipped),
    )


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
