"""Where a step's gradients wait until they are combined: the tensors that autograd made.

`averaging.py` has the other way, for several processes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

Row = tuple[Tensor | None, ...]
"""A task's gradient of each parameter; None where the task does not reach it."""


class Taken(NamedTuple):
    """The rows of a step.

    Attributes:
        tasks: the K tasks that have one.
        rows: K of them.
        losses: of the tasks, K numbers on the device.
        overwritable: nobody else has any part of the rows.
    """

    tasks: tuple[str, ...]
    rows: list[Row]
    losses: list[Tensor]
    overwritable: bool


class Rows(Protocol):
    """Collects gradients and losses by task, in parts."""

    def start(self, tasks: Sequence[str]) -> None:
        """Begin a step with these tasks."""
        ...

    def add(self, task: str, row: Row, loss: Tensor) -> None:
        """Add a part of a task's gradient and loss."""
        ...

    def take(self) -> Taken:
        """What the step has come to."""
        ...


class OwnRows:
    """The rows of one process, kept as autograd made them."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._losses: dict[str, Tensor] = {}

    def start(self, tasks: Sequence[str]) -> None:
        """Drop what there is."""
        self._rows, self._losses = {}, {}

    def add(self, task: str, row: Row, loss: Tensor) -> None:
        """Keep a task's first part, add up what follows."""
        if task in self._rows:
            row = tuple(_sum(a, b) for a, b in zip(self._rows[task], row, strict=True))
            loss = self._losses[task] + loss
        self._rows[task], self._losses[task] = row, loss

    def take(self) -> Taken:
        """The rows; they are forgotten here."""
        taken = Taken(
            tuple(self._rows), list(self._rows.values()), list(self._losses.values()), False
        )
        self._rows, self._losses = {}, {}
        return taken


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
