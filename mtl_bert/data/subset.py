"""Which rows of a split a run uses: all, or fewer, drawn by a seed."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.data.encoded import Encoded
from mtl_bert.data.table import DataError, Table

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
        """The number of examples that are kept of each task.

        Args:
            sizes: task -> usable examples.

        Raises:
            DataError: a limit for a task that there is not, or too few examples of some task for
                the imbalance that is asked for.
        """
        kept = {task: min(size, self._most(task, size, sizes)) for task, size in sizes.items()}
        if self.imbalance is None or not sizes:
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
        """The rows that are kept, ascending, of each task that is cut down.

        Args:
            sizes: task -> usable examples.

        Raises:
            DataError: as ``counts`` does.
        """
        return {
            task: np.sort(self._order(task, sizes[task])[:count])
            for task, count in self.counts(sizes).items()
            if count < sizes[task]
        }

    def of(self, parts: Mapping[str, Part]) -> dict[str, Part]:
        """What is kept of each task's examples.

        Raises:
            DataError: as ``counts`` does.
        """
        rows = self.rows({task: len(part) for task, part in parts.items()})
        return {
            task: part.take(rows[task]) if task in rows else part for task, part in parts.items()
        }

    def _most(self, task: str, size: int, sizes: Mapping[str, int]) -> int:
        share = max(1, round(self.share * size))
        if not isinstance(self.limit, Mapping):
            return share if self.limit is None else min(share, self.limit)
        for other in self.limit:
            if other not in sizes:
                raise DataError(
                    f"{self.setting}: expected tasks among {', '.join(sizes)}, found {other}; "
                    "leave it out"
                )
        return min(share, self.limit.get(task, share))

    def _order(self, task: str, size: int) -> NDArray[np.int64]:
        """The order in which a task's rows are taken."""
        return np.random.default_rng((self.seed, zlib.crc32(task.encode()))).permutation(size)


EVERYTHING = Selection()
"""All rows."""
