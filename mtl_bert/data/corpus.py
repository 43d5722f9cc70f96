"""All the tasks' tables together, from wherever each task's data come."""

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.records import Source
from mtl_bert.data.table import BadRow, DataError, Encoded, MissingSplitError, Table
from mtl_bert.tasks import Task

log = logging.getLogger(__name__)

SHOWN = 3  # bad rows that a message spells out

Part = TypeVar("Part", Table, Encoded)
"""The examples of a task, as texts or as tokens."""


@dataclass(frozen=True)
class Selection:
    """How much is kept of each task's examples.

    The share comes first, then the limit, then the imbalance. What a smaller selection of the same
    seed keeps of a task is part of what a larger one keeps: sizes are compared, not draws.

    Attributes:
        share: of each, above 0, up to 1.
        limit: examples of each at most, one number for all or one for each task; None is no limit.
        imbalance: the largest by each of the others, ≥ 1; None leaves it as it is.
        seed: of the draw.
        setting: what people call the limit.
    """

    share: float = 1.0
    limit: int | Mapping[str, int] | None = None
    imbalance: float | None = None
    seed: int = 0
    setting: str = "data.limit"

    def counts(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The number of examples that are kept of each task, of so many usable ones.

        Raises:
            DataError: a limit for a task that there is not, or too few examples of some task for
                the imbalance that is asked for.
        """
        if not sizes:
            return {}
        limits = self.limit if isinstance(self.limit, Mapping) else dict.fromkeys(sizes, self.limit)
        for other in limits:
            if other not in sizes:
                raise DataError(
                    f"{self.setting}: expected tasks among {', '.join(sizes)}, found {other}; "
                    "leave it out"
                )
        kept = {
            task: min(size, max(1, round(self.share * size)), limits.get(task) or size)
            for task, size in sizes.items()
        }
        if self.imbalance is None:
            return kept
        if len(sizes) == 1:
            raise DataError(
                f"data.imbalance: expected several tasks, found {', '.join(sizes)} alone; leave it "
                "out"
            )
        largest = max(sizes, key=lambda task: sizes[task])
        wanted = max(1, round(kept[largest] / self.imbalance))
        for task, size in kept.items():
            if size < wanted:
                fit = floor(min(kept.values()) * self.imbalance)
                raise DataError(
                    f"data.imbalance: expected {wanted:,} training examples of {task} for "
                    f"{kept[largest]:,} of {largest} at a ratio of {self.imbalance:g}, found "
                    f"{size:,}; write data.limit={fit} or a larger data.imbalance"
                )
        return {task: size if task == largest else wanted for task, size in kept.items()}

    def rows(self, sizes: Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
        """The rows that are kept, ascending, of each task that is cut down."""
        rows = {}
        for task, count in self.counts(sizes).items():
            if count < sizes[task]:
                draw = np.random.default_rng((self.seed, zlib.crc32(task.encode())))
                rows[task] = np.sort(draw.permutation(sizes[task])[:count])
        return rows

    def of(self, parts: Mapping[str, Part]) -> dict[str, Part]:
        """What is kept of each task's examples."""
        rows = self.rows({task: len(part) for task, part in parts.items()})
        return {
            task: part.take(rows[task]) if task in rows else part for task, part in parts.items()
        }


EVERYTHING = Selection()
"""All rows."""


@dataclass(frozen=True)
class Corpus:
    """The tables that a run uses.

    Attributes:
        name: of the source, or of all that are used (demo+csv).
        synthetic: whether any of the text is made up.
        train: a table per task, in the order of the tasks; empty where only dev was asked for.
        dev: a table per task; empty where only train was asked for.
    """

    name: str
    synthetic: bool
    train: Mapping[str, Table]
    dev: Mapping[str, Table]

    @property
    def sizes(self) -> dict[str, int]:
        """Training examples of each task."""
        return {task: len(table) for task, table in self.train.items()}

    def cut(self, train: Selection = EVERYTHING, dev: Selection = EVERYTHING) -> "Corpus":
        """The rows that a selection of each split keeps."""
        return replace(self, train=train.of(self.train), dev=dev.of(self.dev))


def source_of(task: Task, source: Source) -> Source:
    """The run's source where the task knows it, else the task's own files (``sources.csv``).

    Raises:
        DataError: the task has neither.
    """
    if source.name in task.sources:
        return source
    if "csv" in task.sources:
        return Delimited("csv", ".", ",")
    raise DataError(
        f"task {task.name}: expected sources.{source.name} or sources.csv in its file, found "
        f"{', '.join(task.sources) or 'no sources'}; add one of them or leave the task out"
    )


def load(
    source: Source,
    tasks: Sequence[Task],
    max_bad_share: float,
    splits: Sequence[str] = ("train", "dev"),
) -> Corpus:
    """Read the splits of all tasks, counting and reporting the rows that cannot be used.

    Raises:
        DataError: a table cannot be read, or more than ``max_bad_share`` of its rows are bad.
    """
    tables: dict[str, dict[str, Table]] = {"train": {}, "dev": {}}
    sources = {task.name: source_of(task, source) for task in tasks}
    for split in splits:
        for task in tasks:
            tables[split][task.name] = table = sources[task.name].read(task, split)
            report(table, max_bad_share)
    used = sources.values()
    name = "+".join(dict.fromkeys(source.name for source in used))
    return Corpus(name, any(source.synthetic for source in used), **tables)


def load_rows(source: Source, tasks: Sequence[Task], split: str) -> dict[str, Table]:
    """Read every row of a split that has an id, labelled or not, to predict it.

    Rows that lack a text are there and reported, those without an id only reported.

    Raises:
        DataError: a table that is not there or cannot be read; where the other tasks' are there,
            the message says how to ask for those alone.
    """
    tables: dict[str, Table] = {}
    missing: list[MissingSplitError] = []
    sources = {task.name: source_of(task, source) for task in tasks}
    for task in tasks:
        try:
            tables[task.name] = sources[task.name].rows(task, split)
        except MissingSplitError as error:
            missing.append(error)
    if missing:
        if not tables:
            raise missing[0]
        raise DataError(f"{missing[0].problem}; put it there or ask for {', '.join(tables)} alone")
    for table in tables.values():
        _warn(table, table.skipped, "cannot be named", "they have no prediction")
        _warn(table, table.incomplete, "are not whole", "they are predicted from what there is")
    return tables


def refuse(table: Table | Encoded, max_bad_share: float) -> None:
    """Raise DataError where too many of a table's rows are bad."""
    bad = len(table.skipped)
    share = bad / (bad + len(table))
    if share > max_bad_share:
        raise DataError(
            f"{_counted(table, table.skipped, 'cannot be used')}; expected at most "
            f"{max_bad_share:.2%} of them; mend the file, write another quoting:, "
            f"header: or encoding: in the task's file, or data.max_bad_share={share + 0.005:.2f}"
        )


def report(table: Table | Encoded, max_bad_share: float) -> None:
    """Say which rows are skipped, or raise DataError where they are too many."""
    refuse(table, max_bad_share)
    _warn(table, table.skipped, "cannot be used", "they are skipped")


def _warn(table: Table | Encoded, rows: Sequence[BadRow], what: str, then: str) -> None:
    if rows:
        log.warning("%s; %s", _counted(table, rows, what), then)


def _counted(table: Table | Encoded, rows: Sequence[BadRow], what: str) -> str:
    """How many of a table's rows have some fault, and the first of them by line."""
    total = len(table) + len(table.skipped)
    examples = "; ".join(str(row) for row in rows[:SHOWN])
    more = "; …" if len(rows) > SHOWN else ""
    return f"{table.origin}: {len(rows):,} of {total:,} rows {what} ({examples}{more})"
