"""The data of all tasks together, from wherever each task's come."""

import logging
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.records import Source
from mtl_bert.data.table import DataError, Encoded, Table
from mtl_bert.data.token_cache import Cache, UnknownContentError, code_of, digest
from mtl_bert.tasks import Task

if TYPE_CHECKING:
    from mtl_bert.data.tokenize import Tokenize  # imports transformers, which takes seconds

log = logging.getLogger(__name__)

CODE = ("mtl_bert.data", "mtl_bert.data.sources")  # makes entries, so that a change makes new ones
OWN = ("files", "csv")  # what a task calls files of its own
SHOWN = 3  # bad rows that a message spells out

Part = TypeVar("Part", Table, Encoded)
"""The examples of a task, as texts or as tokens."""


@dataclass(frozen=True)
class Selection:
    """How much is kept of each task's examples: first the share, then the limit and the imbalance.

    What a smaller selection of the same seed keeps of a task is part of what a larger one keeps:
    sizes are compared, not draws.

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
        limits = self.limit if isinstance(self.limit, Mapping) else dict.fromkeys(sizes, self.limit)
        if others := [task for task in limits if task not in sizes]:
            raise DataError(
                f"{self.setting}: expected tasks among {', '.join(sizes)}, found {others[0]}; "
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
                f"data.imbalance: expected several tasks, found {', '.join(sizes)}; leave it out"
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

    def split(
        self, sizes: Mapping[str, int]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The rows that are kept and the others, ascending, of each task.

        Raises:
            DataError: a task of whose rows none or all are kept.
        """
        kept, split = self.rows(sizes), {}
        for task, size in sizes.items():
            chosen = kept.get(task, np.arange(size))
            others = np.setdiff1d(np.arange(size), chosen)
            if not len(others):
                raise DataError(
                    f"data.select: expected at least two dev examples of {task}, found {size}; "
                    "write data.select=null"
                )
            split[task] = chosen, others
        return split

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


class Corpus:
    """The tasks' data: from the run's source, or from a task's own files (``sources.files``).

    Args:
        source: the run's; a task that does not know it has files of its own.
        tasks: the tasks, in order.
        max_bad_share: of a table's rows that may be unusable.

    Attributes:
        name: of the source, or of all that are used (demo+csv).
        synthetic: whether any of the text is made up.

    Raises:
        DataError: a task has neither.
    """

    def __init__(self, source: Source, tasks: Sequence[Task], max_bad_share: float) -> None:
        self._tasks, self._max_bad_share = tasks, max_bad_share
        self._tables: dict[str, dict[str, Table]] = {}
        self._sources = {}
        for task in tasks:
            own = next((name for name in (source.name, *OWN) if name in task.sources), None)
            if own is None:
                known = [f"sources.{name}" for name in (source.name, *OWN)]
                raise DataError(
                    f"task {task.name}: expected {' or '.join(dict.fromkeys(known))} in its file, "
                    f"found {', '.join(task.sources) or 'no sources'}; add one of them or leave "
                    "the task out"
                )
            self._sources[task.name] = source if own == source.name else Delimited(own, ".")
        used = self._sources.values()
        self.name = "+".join(dict.fromkeys(each.name for each in used))
        self.synthetic = any(each.synthetic for each in used)

    def read(self, split: str) -> dict[str, Table]:
        """Read a split of all tasks, reporting the rows that cannot be used.

        DataError, if a table cannot be read, or more than ``max_bad_share`` of its rows are bad.
        """
        self._tables[split] = {task.name: self._read(task, split) for task in self._tasks}
        return self._tables[split]

    def rows(self, split: str) -> dict[str, Table]:
        """Read every row of a split that has an id, labelled or not, to predict it.

        Rows that lack a text are there and reported, those without an id only reported.
        """
        tables = {t.name: self._sources[t.name].read(t, split, whole=False) for t in self._tasks}
        for table in tables.values():
            _warn(table, table.skipped, "cannot be named", "they have no prediction")
            _warn(table, table.incomplete, "are not whole", "they are predicted from what there is")
        return tables

    def more(self, tokenize: "Tokenize", cache: Cache | None) -> dict[str, dict[str, Encoded]]:
        """The tokens of further labelled sets: task -> name -> examples."""
        found: dict[str, dict[str, Encoded]] = {}
        for task in self._tasks:
            source = self._sources[task.name]
            alone = Corpus(source, [task], self._max_bad_share)
            for name in task.sources[source.name].get("more", {}):
                tokens = alone.tokens(tokenize, cache, [name])
                found.setdefault(task.name, {})[name] = tokens[name][task.name]
        return found

    def tokens(
        self, tokenize: "Tokenize", cache: Cache | None, splits: Iterable[str]
    ) -> dict[str, dict[str, Encoded]]:
        """The tokens of all usable examples, by split and task.

        A table is read only if its tokens are not in the cache, and it has not been read yet.
        """
        began, made = time.perf_counter(), 0

        def make(task: Task, split: str) -> Encoded:
            nonlocal made
            own, source = tokenize.up_to(task.max_length), self._sources[task.name]
            if known := self._tables.get(split):
                encoded = own(known[task.name])
            else:  # texts of a part at a time, as all of them may be too many
                rows = source.about(task, split) if own.bar else None
                encoded = own.blocks(source.blocks(task, split), rows)
                self._report(encoded)
            made += len(encoded)
            return encoded

        def tokens(task: Task, split: str) -> Encoded:
            if cache is None:
                return make(task, split)
            try:
                origin, content = self._sources[task.name].fingerprint(task, split)
                key = digest(content, tokenize.up_to(task.max_length).digest, *map(code_of, CODE))
            except UnknownContentError as reason:
                log.info("cache: %s of %s is not kept (%s)", split, task.name, reason)
                return make(task, split)
            before = made
            found = cache.get(key, partial(make, task, split), origin)
            if split not in self._tables and made == before:
                self._report(found)
            return found

        found = {s: {task.name: tokens(task, s) for task in self._tasks} for s in splits}
        total = sum(len(part) for parts in found.values() for part in parts.values())
        message = "encoded %s examples in %.1f s; %s were in the cache"
        log.info(message, f"{made:,}", time.perf_counter() - began, f"{total - made:,}")
        return found

    def _read(self, task: Task, split: str) -> Table:
        table = self._sources[task.name].read(task, split)
        self._report(table)
        return table

    def _report(self, table: Table | Encoded) -> None:
        """Say which rows are skipped, or raise DataError where they are too many."""
        share = len(table.skipped) / (len(table.skipped) + len(table))
        if share > self._max_bad_share:
            raise DataError(
                f"{_counted(table, table.skipped, 'cannot be used')}; expected at most "
                f"{self._max_bad_share:.2%} of them; mend the file, write another head:, "
                "quoting:, header: or encoding: in the task's file, or "
                f"data.max_bad_share={share + 0.005:.2f}"
            )
        _warn(table, table.skipped, "cannot be used", "they are skipped")


def _warn(table: Table | Encoded, rows: Sequence[str], what: str, then: str) -> None:
    if rows:
        log.warning("%s; %s", _counted(table, rows, what), then)


def _counted(table: Table | Encoded, rows: Sequence[str], what: str) -> str:
    """How many of a table's rows have some fault, and the first of them by line."""
    total = len(table) + len(table.skipped)
    examples = "; ".join([*rows[:SHOWN], *(["…"] if len(rows) > SHOWN else [])])
    return f"{table.origin}: {len(rows):,} of {total:,} rows {what} ({examples})"
