"""What an epoch is: a plan, and a plan is a value.

A sampler is a pure function ``(sizes, epoch, epochs, seed) -> Epoch``. Because its answer is a
value it can be printed before training, tested without a model, split over processes and resumed
at step n, with no sampler state to save.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Sizes = Mapping[str, int]
"""Training examples of each task, in the order in which the tasks are configured."""


@dataclass(frozen=True)
class Phase:
    """How the steps of one stretch of an epoch turn gradients into an update.

    Attributes:
        name: shown on progress bars and in results.
        surgery: combine the represented tasks' gradients by the run's surgery; otherwise the
            step has one task and its plain gradient is used.
        lambda_: λ ≥ 0, which weakens the steps of this phase.
        lambda_on: what λ multiplies, ``loss`` (the paper) or ``update`` (the optimizer's step:
            AdamW all but cancels a constant factor on the loss, docs/explanation/paper.md, 6).
        frozen: patterns of parameter names (Θ') that take no update of any kind. Read in order;
            a leading ``!`` spares what an earlier pattern froze.
    """

    name: str
    surgery: bool = True
    lambda_: float = 1.0
    lambda_on: str = "loss"
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One optimizer step: its phase and, per represented task, the rows that it uses."""

    phase: Phase
    rows: Mapping[str, Rows]

    @property
    def examples(self) -> int:
        """Examples over all tasks."""
        return sum(len(rows) for rows in self.rows.values())


@dataclass(frozen=True)
class Epoch:
    """The plan of one epoch.

    Attributes:
        number: counted from 1.
        steps: in the order of training; phases may take turns.
        notes: what a user should be told (a B that was capped, a task that starts over).
        starts_over: the optimizer's state and the learning rate's schedule begin anew with it.
    """

    number: int
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    starts_over: bool = False

    def phases(self) -> Iterator[tuple[Phase, tuple[Step, ...]]]:
        """Each phase with its steps, in the order in which phases begin."""
        found: dict[Phase, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.phase, []).append(step)
        return ((phase, tuple(steps)) for phase, steps in found.items())


class Sampler(Protocol):
    """A method of drawing training examples: a validated choice that is also a pure function."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Return the plan of ``epoch`` (from 1) out of ``epochs``."""
        ...


def rows_used(steps: tuple[Step, ...], task: str) -> Rows:
    """Every row of ``task`` that ``steps`` use, with repeats, in order: [examples]."""
    parts = [step.rows[task] for step in steps if task in step.rows]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def batch_sizes(total: int, batch_size: int) -> list[int]:
    """Split ``total`` examples into batches, the last one ragged."""
    full, rest = divmod(total, batch_size)
    return [batch_size] * full + ([rest] if rest else [])


def resized(size: int, batch_size: int, own: int) -> int:
    """Examples of a task with a batch size of its own, where others have ``size``; at least one."""
    return max(1, size * own // batch_size)


def portion(rows: Rows, part: int, parts: int) -> Rows:
    """One of ``parts`` almost equal portions of a task's rows; small batches leave some empty."""
    return np.array_split(rows, parts)[part]
