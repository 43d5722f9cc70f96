"""The rows of several processes: averaged before surgery, in one collective.

Projecting is not linear: averaging what each process has projected by itself is another method. So
every process adds its part of each task's gradient into one flat buffer, the buffers are summed,
and all processes combine the same rows. A part is weighted by its share of the task's examples in
the step; a process without any adds nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from mtl_bert.surgery.rows import GradientRows, LocalRows


@dataclass(frozen=True)
class _Layout:
    """Where in the buffer the numbers of a step stand.

    Attributes:
        slots: (task, parameter) -> where its gradient begins.
        losses: where the tasks' losses begin.
        counts: where it begins how many processes reached each slot, and were asked to stop.
        size: of the whole.
    """

    slots: Mapping[tuple[str, int], int]
    losses: int
    counts: int
    size: int


class AveragedRows(LocalRows):
    """Gradient rows that are averaged, so that every process has the same.

    Args:
        parameters: the P parameters.
        reach: a task -> which of them its loss can depend on, the same in every process.
        group: the processes; None is all.

    Attributes:
        stop_requested: set in one process before ``take``, it is set in all of them after.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        reach: Callable[[str], Sequence[bool]],
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.stop_requested = False
        self._parameters, self._reach, self._group = list(parameters), reach, group
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._buffer = torch.empty(0)
        self._tasks: tuple[str, ...] = ()
        self._reached: set[tuple[str, int]] = set()

    def start(self, tasks: Sequence[str]) -> None:
        """Clear room for these tasks, which are the step's in every process.

        Without any, gradients wait until ``take`` has asked the other processes for their tasks.
        """
        super().start(tasks)
        self._tasks, self._reached = tuple(tasks), set()
        if not tasks:
            return
        if self._tasks not in self._layouts:
            self._layouts[self._tasks] = self._lay_out()
        size, like = self._layouts[self._tasks].size, self._parameters[0]
        if len(self._buffer) < size or self._buffer.device != like.device:
            self._buffer = torch.empty(size, dtype=like.dtype, device=like.device)
        self._buffer[:size].zero_()

    def put(self, task: str, p: int, entry: Tensor) -> None:
        """Add to this process's part of a task's gradient of parameter ``p``."""
        if self._tasks:
            self._slot(task, p).add_(entry)
        else:
            super().put(task, p, entry)

    def put_product(self, task: str, p: int, g: Tensor, x: Tensor, weight: Tensor) -> None:
        """Add gᵀ x, the gradient of a weight from [N, out] and [N, in], likewise."""
        if self._tasks and g.dtype == weight.dtype:
            self._slot(task, p).addmm_(g.t(), x)
        elif self._tasks:
            self.put(task, p, g.t() @ x)
        else:
            super().put_product(task, p, g, x, weight)

    def _slot(self, task: str, p: int) -> Tensor:
        self._reached.add((task, p))
        return self._entry(self._layouts[self._tasks].slots[task, p], p)

    def take(self) -> GradientRows:
        """Sum over processes; ``stop_requested`` then says whether any was asked to stop."""
        if not self._tasks:
            self._lay_out_early()
        layout = self._layouts[self._tasks]
        for place, task in enumerate(self._tasks, layout.losses):
            if task in self._losses:
                self._buffer[place] = self._losses[task]
        counts = self._buffer[layout.counts : layout.size]
        reached = [float(slot in self._reached) for slot in layout.slots]
        counts.copy_(torch.tensor([*reached, float(self.stop_requested)]))
        dist.all_reduce(self._buffer[: layout.size], group=self._group)
        *reached, stopping = counts.tolist()
        self.stop_requested = stopping > 0
        rows: dict[str, list[Tensor | None]] = {
            task: [None] * len(self._parameters) for task in self._tasks
        }
        for ((task, p), start), processes in zip(layout.slots.items(), reached, strict=True):
            if processes:
                rows[task][p] = self._entry(start, p)
        losses = list(self._buffer[layout.losses : layout.counts].clone())
        return GradientRows(self._tasks, list(rows.values()), losses, [self._buffer])

    def _lay_out_early(self) -> None:
        """Agree on the step's tasks, in the order of the first process that has them."""
        early = super().take()
        told: list[Sequence[str]] = [()] * dist.get_world_size(self._group)
        dist.all_gather_object(told, early.tasks, group=self._group)
        self.start(list(dict.fromkeys(task for tasks in told for task in tasks)))
        for task, row, loss in zip(early.tasks, early.rows, early.losses, strict=True):
            self.add(task, row, loss)

    def _lay_out(self) -> _Layout:
        reachable = [
            (task, p)
            for task in self._tasks
            for p, reached in enumerate(self._reach(task))
            if reached
        ]
        ends = list(accumulate((self._parameters[p].numel() for _, p in reachable), initial=0))
        losses = ends[-1]
        counts = losses + len(self._tasks)
        return _Layout(
            dict(zip(reachable, ends, strict=False)), losses, counts, counts + len(reachable) + 1
        )

    def _entry(self, start: int, p: int) -> Tensor:
        parameter = self._parameters[p]
        return self._buffer[start : start + parameter.numel()].view(parameter.shape)
