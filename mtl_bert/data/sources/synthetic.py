"""Made-up text as a source of data, in the tasks' shapes and in proportion to published sizes."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, StrictInt

from mtl_bert.data.sources.records import Place, Record, Records, Source, said
from mtl_bert.data.table import DataError
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line

SPLITS = ("train", "dev", "test")
Make = Callable[[int, np.random.Generator], Any]


class MadePlace(BaseModel, extra="forbid"):
    """Who makes a task's examples, each ``((text, ...), label)``, and how many there are."""

    make: Make = Field(description="a function (count, rng) -> examples")
    train: StrictInt = Field(ge=1, description="its published training size, a whole number ≥ 1")
    dev: StrictInt = Field(ge=1, description="the size of its dev set, a whole number ≥ 1")


@dataclass(frozen=True)
class Synthetic(Source):
    """A corpus that is generated from a seed; a task's ``sources`` entry is a ``MadePlace``.

    Attributes:
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

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Make one split of a task, when it is read; the test split is another draw like dev."""
        made = said(MadePlace, task, self.name)
        count = max(1, round(made.train * self.scale)) if split == "train" else made.dev
        place = Place(text=["text", "text2"][: 1 + task.pair], label="label")
        asked = (made.model_dump(), count, self.seed, task.name, split, np.__version__)
        records = self._records(task, split, made.make, count, (*place.text, *place.labels))
        return Records(place, records, f"{self.name} {task.name} {split}", lambda: asked)

    def _records(
        self, task: Task, split: str, make: Make, count: int, names: Sequence[str]
    ) -> Iterator[Record]:
        key = zlib.crc32(task.name.encode())
        rng = np.random.default_rng((self.seed, key, SPLITS.index(split)))
        try:
            made = [
                dict(zip(names, (*texts, label), strict=True)) for texts, label in make(count, rng)
            ]
        except Exception as error:  # functions are anybody's, and so is what they raise
            raise DataError(
                f"task {task.name}: expected a function (count, rng) -> examples as sources."
                f"{self.name}.make, found one that fails ({first_line(error)}); mend the task's "
                "file"
            ) from error
        for number, fields in enumerate(made):
            yield Record(f"{split}-{number}", fields)
