"""Where the tasks' gradients and losses wait until all of a step's are there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Row = Sequence[Tensor | None]
"""A task's gradient of each parameter; None where the task does not reach it."""

Tasks = Sequence[str] | Mapping[str, int]
"""A step's tasks in order, where it is known with the number of losses that each will have here."""


class GradientRows(NamedTuple):
    """The gradients of a step, a row for each task.

    Attributes:
        tasks: the K tasks that have one.
        rows: K of them.
        losses: of the tasks, K numbers on the device.
        kept: memory of rows that nobody else uses.
    """

    tasks: tuple[str, ...]
    rows: Sequence[Row]
    losses: list[Tensor]
    kept: Sequence[Tensor]


class LocalRows:
    """Where gradients and losses wait, by task, until all of a step's are there: one process's.

    Attributes:
        unfinished: parameters that a backward pass will yet add to, by the first call of their
            layer in the forward pass, in the order of calls; ``Surgeon.one_pass`` keeps it.
    """

    def __init__(self) -> None:
        self.unfinished: dict[int, int] = {}
        self._order: tuple[str, ...] = ()
        self._rows: dict[str, dict[int, Tensor]] = {}
        self._losses: dict[str, Tensor] = {}
        self._kept: dict[int, Tensor] = {}
        self._length = 0

    def start(self, tasks: Tasks, by_layer: bool = False) -> None:
        """Begin a step with these tasks, in this order, forgetting what was added before."""
        self._order, self._rows, self._losses = tuple(tasks), {}, {}

    def add(self, task: str, row: Row, loss: Tensor) -> None:
        """Add a part of a task's gradient and loss; a first part is kept as autograd made it."""
        self._rows.setdefault(task, {})
        for p, entry in enumerate(row):
            if entry is not None:
                self.put(task, p, entry)
        self._losses[task] = self._losses[task] + loss if task in self._losses else loss
        self._length = len(row)

    def put(self, task: str, p: int, entry: Tensor) -> None:
        """Add to a task's gradient of parameter ``p``."""
        row = self._rows.setdefault(task, {})
        if p in row and row[p].is_sparse and not entry.is_sparse:
            row[p] = entry + row[p]
        else:
            row[p] = row[p] + entry if p in row else entry

    def put_product(self, task: str, p: int, g: Tensor, x: Tensor, weight: Tensor) -> None:
        """Add gᵀ x, the gradient of a weight from [N, out] and [N, in], to a task's row.

        The memory of these rows, all tasks' of a weight one after another, is kept for later steps.
        """
        row = self._rows.setdefault(task, {})
        if p not in self._kept or len(self._kept[p]) < len(self._rows):
            self._kept[p] = weight.new_empty(len(self._rows), *weight.shape)
        kept = self._kept[p][list(self._rows).index(task)]
        if p in row and row[p].data_ptr() != kept.data_ptr():  # it came from elsewhere, so far
            self.put(task, p, (g.t() @ x).to(weight.dtype))
        elif g.dtype == weight.dtype:
            row[p] = torch.addmm(kept, g.t(), x, beta=float(p in row), out=kept)
        else:
            row[p] = kept.add_(g.t() @ x) if p in row else kept.copy_(g.t() @ x)

    def send(self) -> None:
        """Hear that something may be complete; of one process there is nobody to send it to."""

    def take(self) -> GradientRows:
        """Return the step's gradients and losses, and forget them."""
        tasks = tuple(t for t in dict.fromkeys((*self._order, *self._rows)) if t in self._rows)
        rows = [[self._rows[task].get(p) for p in range(self._length)] for task in tasks]
        losses, kept = [self._losses[task] for task in tasks], list(self._kept.values())
        taken = GradientRows(tasks, rows, losses, kept)
        self.start(())
        return taken
