"""What a plan uses of each task's training set, its largest steps, and a plan as plain records."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mtl_bert.sampling.epoch import Epoch, Sizes, rows_used


class Usage(NamedTuple):
    """What one phase of an epoch uses of one task.

    Attributes:
        epoch: counted from 1.
        phase: its name.
        steps: of the phase, with this task or without it.
        task: its name.
        examples: drawn, with repeats.
        unique: different ones among them.
        share: of the training set that these are, from 0 to 1.
    """

    epoch: int
    phase: str
    steps: int
    task: str
    examples: int
    unique: int
    share: float


def usage(plan: Epoch, sizes: Sizes) -> list[Usage]:
    """A line for each phase and task of an epoch, as in the paper's Table 1."""
    lines = []
    for phase, steps in plan.phases():
        for task, size in sizes.items():
            rows = rows_used(steps, task)
            if len(rows):
                unique = len(np.unique(rows))
                used = (task, len(rows), unique, unique / size)
                lines.append(Usage(plan.number, phase.name, len(steps), *used))
    return lines


def records(plan: Epoch) -> Iterator[dict[str, Any]]:
    """Each step as JSON has it: epoch from 1, step and rows from 0."""
    for number, step in enumerate(plan.steps):
        rows = {task: numbers.tolist() for task, numbers in step.rows.items()}
        yield {"epoch": plan.number, "step": number, "phase": step.phase.name, "rows": rows}


@dataclass(frozen=True)
class Work:
    """Steps with the same tasks and the same frozen parameters."""

    frozen: tuple[str, ...]  # patterns of parameter names
    examples: Mapping[str, int]  # that go through the model at once in the largest step, by task
    parts: int = 1  # of a task's examples that do, one after another


class Largest:
    """Remembers the most examples of each task that go through the model at once.

    Args:
        processes: that share a step's examples.
        accumulate: parts that a process's share goes through the model in.
    """

    def __init__(self, processes: int, accumulate: int) -> None:
        self._processes, self._accumulate = processes, accumulate
        self._most = defaultdict[tuple[tuple[str, ...], ...], Counter[str]](Counter)

    def see(self, plan: Epoch) -> None:
        """Take note of an epoch."""
        for step in plan.steps:
            counts = Counter({task: len(rows) for task, rows in step.rows.items()})
            self._most[step.phase.frozen, tuple(step.rows)] |= counts

    def works(self) -> list[Work]:
        """The kinds of steps that there were."""
        works = []
        for (frozen, _), most in self._most.items():
            shares = {task: -(-count // self._processes) for task, count in most.items()}
            at_once = {task: -(-share // self._accumulate) for task, share in shares.items()}
            works.append(Work(frozen, at_once, min(self._accumulate, max(shares.values()))))
        return works
