"""Made-up text as a source of data, in the tasks' shapes and in proportion to published sizes."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mtl_bert.data.sources.records import Source
from mtl_bert.data.table import DataError, Table
from mtl_bert.data.token_cache import Fingerprint, digest
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Synthetic(Source):
    """A corpus that is generated from a seed.

    A task's ``sources`` entry names ``make``, a function ``(count, rng) -> examples``, its
    published training size ``train`` and the size of its ``dev`` set.

    Attributes:
        name: the key under a task's ``sources``.
        scale: share of the published training sizes that is made.
        seed: of the text.
    """

    synthetic: ClassVar[bool] = True

    name: str
    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise DataError(
                f"data.scale: expected a number > 0, found {self.scale}; write data.scale=0.11"
            )

    def read(self, task: Task, split: str) -> Table:
        """Make one split of a task; the test split is another draw like dev, without labels."""
        source = task.sources[self.name]
        make: Callable[[int, np.random.Generator], Sequence[tuple[tuple[str, ...], float]]] | None
        make, size = source.get("make"), source.get("train" if split == "train" else "dev")
        if not callable(make):
            raise DataError(
                f"task {task.name}: expected a function as sources.{self.name}.make, found "
                f"{make!r}; mend the task's file"
            )
        if type(size) is not int or size < 1:
            raise DataError(
                f"task {task.name}: expected whole numbers ≥ 1 as sources.{self.name}.train and "
                f"dev, found {size!r}; mend the task's file"
            )
        published = size * self.scale if split == "train" else size
        key = zlib.crc32(task.name.encode())
        rng = np.random.default_rng((self.seed, key, SPLITS.index(split)))
        try:
            examples = make(max(1, round(published)), rng)
            len(examples)
        except Exception as error:  # functions are anybody's, and so is what they raise
            raise DataError(
                f"task {task.name}: expected a function (count, rng) -> examples as "
                f"sources.{self.name}.make, found one that fails ({first_line(error)}); mend the "
                "task's file"
            ) from error
        wrong = next((w for _, label in examples if (w := task.head.check(label))), None)
        if wrong:
            raise DataError(
                f"task {task.name}: expected a head that fits sources.{self.name}.make, found "
                f"{wrong}; mend head in the task's file"
            )
        return Table(
            self._origin(task, split),
            tuple(f"{split}-{number}" for number in range(len(examples))),
            tuple(texts for texts, _ in examples),
            np.array([label for _, label in examples], np.float64) if split != "test" else None,
        )

    def rows(self, task: Task, split: str) -> Table:
        """The same rows as ``read`` gives, without labels."""
        return replace(self.read(task, split), labels=None)

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """A digest of the generator's own code and of what it is asked for."""
        asked = (self.scale, self.seed, task.name, split, task.head, np.__version__)
        return Fingerprint(
            self._origin(task, split), digest("synthetic", task.sources[self.name], *asked)
        )

    def _origin(self, task: Task, split: str) -> str:
        return f"{self.name} {task.name} {split}"
