"""What there is to be done in the steps of a plan: the most that goes through the model at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from mtl_bert.sampling import Epoch


@dataclass(frozen=True)
class Work:
    """Steps with the same tasks and the same frozen parameters.

    Attributes:
        frozen: patterns of parameter names.
        examples: of each task, that go through the model at once in the largest step.
        parts: of a task's examples that do, one after another.
    """

    frozen: tuple[str, ...]
    examples: Mapping[str, int]
    parts: int = 1


class Largest:
    """Remembers the most examples of each task, of all steps that it sees.

    Args:
        processes: that share a step's examples.
        accumulate: parts that a process's share goes through the model in.
    """

    def __init__(self, processes: int, accumulate: int) -> None:
        self._processes, self._accumulate = processes, accumulate
        self._most: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, int]] = {}

    def see(self, plan: Epoch) -> None:
        """Take note of an epoch."""
        for step in plan.steps:
            most = self._most.setdefault((step.phase.frozen, tuple(step.rows)), {})
            for task, rows in step.rows.items():
                most[task] = max(most.get(task, 0), len(rows))

    def works(self) -> list[Work]:
        """The kinds of steps that there were."""
        works = []
        for (frozen, _), most in self._most.items():
            shares = {task: -(-count // self._processes) for task, count in most.items()}
            at_once = {task: -(-share // self._accumulate) for task, share in shares.items()}
            works.append(Work(frozen, at_once, min(self._accumulate, max(shares.values()))))
        return works
