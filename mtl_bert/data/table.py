"""Rows of one split of one task, as read and checked."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtl_bert.utils.errors import UserError


class DataError(UserError):
    """Data that cannot be used: one line says where, what was expected, found, and what to do."""


class MissingSplitError(DataError):
    """A split of a task that is not there: the problem, and advice on what to do."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem = problem


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used."""

    place: str
    reason: str

    def __str__(self) -> str:
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
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """The table of some of the rows."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
        )
