"""What a plan uses of each task's training set, and a plan as plain records."""

from collections.abc import Iterator
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
