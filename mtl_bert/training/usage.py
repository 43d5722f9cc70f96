"""How much of each training set a run has seen."""

from collections.abc import Callable, Mapping

import numpy as np

from mtl_bert.reporting.results import Utilisation
from mtl_bert.sampling import Epoch
from mtl_bert.sampling.plan import rows_used


class Usage:
    """Counts what epochs use, one after another.

    Args:
        sizes: of the training sets.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._examples = dict.fromkeys(sizes, 0)
        self._seen = {task: np.zeros(size, bool) for task, size in sizes.items()}
        self._epochs = 0

    def until(self, epoch: int, plan: Callable[[int], Epoch]) -> None:
        """Count every epoch up to this one that is not counted yet."""
        for number in range(self._epochs + 1, epoch + 1):
            self.add(plan(number))

    def add(self, plan: Epoch) -> None:
        """Count one epoch more."""
        for task, seen in self._seen.items():
            rows = rows_used(plan.steps, task)
            self._examples[task] += len(rows)
            seen[rows] = True
        self._epochs += 1

    def read(self) -> dict[str, Utilisation]:
        """Of each task, over the epochs counted."""
        unique = {task: int(seen.sum()) for task, seen in self._seen.items()}
        return {
            task: Utilisation(
                examples=self._examples[task],
                unique=unique[task],
                fraction=unique[task] / len(seen),
            )
            for task, seen in self._seen.items()
        }
