"""From a file's or data set's records to the checked rows of a task's split."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mtl_bert.data.table import BadRow, DataError, MissingSplitError, Table
from mtl_bert.data.token_cache import Fingerprint
from mtl_bert.tasks import Task

UNREADABLE = re.compile("[\ud800-\udfff\0]")  # surrogates stand for bytes of another encoding
NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
)  # float() takes 1_0, ١, nan

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
        names: dict[str, Any] = {  # columns without a header are called by numbers
            key: [*map(str, value)]
            if isinstance(value, list)
            else value
            if value is None
            else str(value)
            for key, value in source.items()
        }
        try:
            return cls(**names)
        except TypeError:
            raise DataError(
                f"task {task.name}: expected text, label and perhaps id among its columns, found "
                f"{', '.join(source) or 'none'}; mend sources: in the task's file"
            ) from None

    def check(self, task: Task, present: Iterable[str], origin: str, *, labelled: bool) -> None:
        """Raise DataError unless the columns fit the task and are present."""
        if not isinstance(self.text, list | tuple) or len(self.text) != (2 if task.pair else 1):
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
        for column in wanted:
            if len(alike := [repr(c) for c in present if c.strip() == column.strip()]) > 1:
                raise DataError(
                    f"{origin}: expected one column {column}, found {len(alike)} "
                    f"({', '.join(alike)}); rename the others or leave them out"
                )


class Record(NamedTuple):
    """One record of a split.

    Attributes:
        place: where it stands, for people.
        fields: what it holds, or seems to hold.
        fault: why it cannot be trusted, or an empty string.
    """

    place: str
    fields: Mapping[str, object]
    fault: str = ""


class Records(NamedTuple):
    """An opened split.

    Attributes:
        columns: where the fields stand in a record; each of them is there.
        records: the records, in order.
        origin: the file or data set.
    """

    columns: Columns
    records: Iterable[Record]
    origin: str


class Source:
    """Somewhere that the tasks' data come from.

    A source of records implements ``open`` and ``fingerprint``; one that makes tables in another
    way implements ``read``, ``rows`` and ``fingerprint``.

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
            DataError, HubError: the split or a column is missing, or the data cannot be read.
        """
        raise NotImplementedError

    def read(self, task: Task, split: str) -> Table:
        """Read and check one split of a task; the test split has no labels.

        Raises:
            DataError, HubError: as ``open``, or no row can be used.
        """
        labelled = split != "test"
        return build_table(task, self.open(task, split, labelled=labelled), labelled=labelled)

    def rows(self, task: Task, split: str) -> Table:
        """Read every row of a split that has an id, whole or not, without labels.

        Raises:
            DataError, HubError: as ``open``, or no row has an id.
        """
        opened = self.open(task, split, labelled=False)
        return build_table(task, opened, labelled=False, whole=False)

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """A digest of everything that decides what ``read`` gives, without reading.

        Raises:
            DataError, HubError: the split is not there.
            UnknownContentError: nothing short of reading tells what the split holds.
        """
        raise NotImplementedError

    def _settings(self, task: Task, split: str, what: str) -> tuple[str, dict[str, Any]]:
        """The file or the name of a split, and what else a task's file says of this source."""
        settings = dict(task.sources[self.name])
        splits = {s: settings.pop(s, None) for s in ("train", "dev", "test")}
        if splits[split] is None:
            raise MissingSplitError(
                f"task {task.name}: expected {what} for {split}, found none",
                f"add sources.{self.name}.{split} to the task's file",
            )
        return splits[split], settings


def build_table(task: Task, opened: Records, *, labelled: bool, whole: bool = True) -> Table:
    """Check every record and keep the usable ones.

    Args:
        task: says what a label may be.
        opened: the split.
        labelled: whether a label is expected.
        whole: keep only records that lack nothing; else all that have an id, to predict them from
            what there is of them.

    Raises:
        DataError: no usable row is left.
    """
    columns, records, origin = opened
    ids: list[str] = []
    texts: list[tuple[str, ...]] = []
    labels, skipped, incomplete = [], [], []
    for place, fields, fault in records:
        row_texts = tuple(_text(fields, column) for column in columns.text)
        missing = [c for c, text in zip(columns.text, row_texts, strict=True) if not text]
        try:
            if whole and (fault or missing):
                raise ValueError(fault or f"{missing[0]} is missing")
            label = _label(task, fields, columns.label) if labelled else math.nan
            row_id = _needed(fields, columns.id) if columns.id else place
            unfit = len(row_id.splitlines()) > 1 or UNREADABLE.search(row_id)
            if unfit and columns.id and not whole:  # a file of predictions has to hold it
                raise ValueError(f"{columns.id} {ascii(row_id)[:40]} is not a name")
        except ValueError as reason:
            skipped.append(BadRow(place, str(reason)))
            continue
        if fault or missing:
            incomplete.append(BadRow(place, fault or f"{' and '.join(missing)} missing"))
        if fault:
            row_texts = tuple(UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", t) for t in row_texts)
        ids.append(row_id)
        texts.append(row_texts)
        labels.append(label)
    if not ids:
        example = f" (the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"{origin}: expected rows for task {task.name}, found "
            f"{len(skipped)} and none that can be used{example}; name another file"
        )
    known = np.array(labels, np.float64) if labelled else None
    return Table(origin, tuple(ids), tuple(texts), known, tuple(skipped), tuple(incomplete))


def _text(fields: Mapping[str, object], column: str) -> str:
    value = fields.get(column)
    return "" if value is None else str(value).strip()


def _needed(fields: Mapping[str, object], column: str) -> str:
    text = _text(fields, column)
    if not text:
        raise ValueError(f"{column} is missing")
    return text


def _label(task: Task, fields: Mapping[str, object], column: str) -> float:
    text = _needed(fields, column)
    number = TRUTHS.get(text, text)
    if not NUMBER.fullmatch(number):
        raise ValueError(f"{column} {text[:40]!r} is not a number")
    label = float(number)
    problem = task.head.check(label)
    if problem:
        raise ValueError(problem)
    return label
