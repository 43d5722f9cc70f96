"""The rows of several processes: averaged before surgery, and while others are still computed.

Projecting is not linear: averaging what each process has projected by itself is another method. So
every process adds its part of each task's gradient into one flat buffer, the buffers are summed,
and all processes combine the same rows. A part is weighted by its share of the task's examples in
the step; a process without any adds nothing.

The buffer is summed in buckets. Which numbers a bucket has and which bucket is next follows from
what all processes know when a step starts, since all have to sum the same ones in the same order.
When to begin is each one's own affair: as soon as nothing is added to the bucket any more, at the
latest in ``take``. So nothing is different where a process has no examples of a task.

Of an embedding whose gradients come sparse only the rows go through the buffer that some process
touched, of which all tell each other first: at MiniLM's size that halves what is sent.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from operator import itemgetter

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from mtl_bert.surgery.rows import GradientRows, LocalRows, Row, Tasks

BUCKET = 25 * 2**18
"""Numbers that a bucket has at least: 25 MiB of fp32, as DistributedDataParallel takes."""


@dataclass(frozen=True)
class _Layout:
    """Where in the buffer the numbers of a step stand.

    Attributes:
        slots: (task, parameter) -> where its gradient begins, in order.
        buckets: where each begins, and its slots; with the last goes all that follows.
        tables: (task, parameter) whose gradients come sparse, and wait elsewhere.
        losses: where the tasks' losses begin.
        counts: where it begins how many processes reached each slot and table, and were asked to
            stop.
        size: of the whole, without the rows of tables that a step touched.
    """

    slots: Mapping[tuple[str, int], int]
    buckets: Sequence[tuple[int, Sequence[tuple[str, int]]]]
    tables: Sequence[tuple[str, int]]
    losses: int
    counts: int
    size: int


class AveragedRows(LocalRows):
    """Gradient rows that are averaged, so that every process has the same.

    Args:
        parameters: the P parameters.
        reach: a task -> which of them its loss can depend on, the same in every process.
        group: the processes; None is all.
        tables: places of the parameters whose gradients come sparse, the same in every process.

    Attributes:
        stop_requested: set in one process before ``take``, it is set in all of them after.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        reach: Callable[[str], Sequence[bool]],
        group: dist.ProcessGroup | None = None,
        tables: Iterable[int] = (),
    ) -> None:
        super().__init__()
        if len(kinds := {parameter.dtype for parameter in parameters}) > 1:
            raise ValueError(
                "parameters: expected one type of number with several processes, found "
                f"{', '.join(sorted(map(str, kinds)))}; write model.to(torch.float32), and "
                "autocast for half precision"
            )
        self.stop_requested, self._tables = False, frozenset(tables)
        self._parameters, self._reach, self._group = list(parameters), reach, group
        self._layouts: dict[tuple[tuple[str, ...], bool], _Layout] = {}
        self._buffer = torch.empty(0)
        self._sums: list[dist.Work] = []
        self._sent = 0
        self.start(())

    def start(self, tasks: Tasks, by_layer: bool = False) -> None:
        """Clear room for these tasks, which are the step's in every process.

        Without any, gradients wait until ``take`` has asked the other processes for their tasks.

        Raises:
            RuntimeError: an error ended the step before, after a part of it was sent.
        """
        if tasks and self._sent:
            raise RuntimeError(
                "Surgeon.step: expected the step before to end in all processes, found one that an "
                "error ended after a part of it was sent; end this process and resume"
            )
        super().start(tasks)
        self._tasks, self._reached = tuple(tasks), set[tuple[str, int]]()
        self._left: dict[str, float] = dict.fromkeys(tasks, math.inf)  # losses to come
        self._left |= tasks if isinstance(tasks, Mapping) else {}
        if (self._tasks, by_layer) not in self._layouts:
            self._layouts[self._tasks, by_layer] = self._lay_out(by_layer)
        self._layout = self._layouts[self._tasks, by_layer]
        if tasks:
            self._make_room(self._layout.size)
            self._buffer[: self._layout.size].zero_()

    def _make_room(self, size: int) -> None:
        """Have the buffer hold so many numbers, what it holds among them."""
        like, before = self._parameters[0], self._buffer
        if len(before) < size or before.device != like.device:
            # Which rows of tables are touched differs from step to step: some more than are asked.
            room = size + size // 16 if self._tables else size
            self._buffer = torch.zeros(room, dtype=like.dtype, device=like.device)
            self._buffer[: len(before)] = before.to(like.device)

    def add(self, task: str, row: Row, loss: Tensor) -> None:
        """Add a part of a task's gradient and loss, and send what is complete by that."""
        super().add(task, row, loss)
        self._left[task] = self._left.get(task, 0) - 1
        self.send()

    def put(self, task: str, p: int, entry: Tensor) -> None:
        """Add to this process's part of a task's gradient of parameter ``p``."""
        if not self._tasks:
            super().put(task, p, entry)
        elif p in self._tables:
            self._reached.add((task, p))
            super().put(task, p, entry if entry.is_sparse else entry.to_sparse(1))
        else:
            self._slot(task, p).add_(entry)

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
        start = self._layout.slots[task, p]
        if start < self._sent:
            raise RuntimeError(
                f"Surgeon.backward: expected as many losses of {task} as Surgeon.step was told of, "
                f"found one after its gradient was sent; mend tasks={{{task!r}: ...}}"
            )
        return self._entry(start, p)

    def send(self, everything: bool = False) -> None:
        """Begin to sum those buckets, in their order, to which nothing is added any more."""
        for (start, bucket), (end, _) in pairwise(self._layout.buckets):
            if start < self._sent:
                continue
            awaited = (self._left[task] > 0 or p in self.unfinished for task, p in bucket)
            if not everything and any(awaited):
                return
            part, self._sent = self._buffer[start:end], end
            self._sums.append(dist.all_reduce(part, group=self._group, async_op=True))

    def take(self) -> GradientRows:
        """Sum over processes; ``stop_requested`` then says whether any was asked to stop."""
        if not self._tasks:
            self._lay_out_early()
        self.send(everything=True)
        layout = self._layout
        for place, task in enumerate(self._tasks, layout.losses):
            if task in self._losses:
                self._buffer[place] = self._losses[task]
        counts = slice(layout.counts, layout.size)
        asked = [*layout.slots, *layout.tables]
        reached = [float(slot in self._reached) for slot in asked]
        self._buffer[counts] = torch.tensor([*reached, float(self.stop_requested)])
        touched = self._touched()
        for work in self._sums:
            work.wait()
        ends = self._put_tables(layout, touched)
        dist.all_reduce(self._buffer[self._sent : ends[-1]], group=self._group)
        self._sums, self._sent = [], 0
        *reached, stopping = self._buffer[counts].tolist()
        self.stop_requested = stopping > 0
        rows: dict[str, list[Tensor | None]] = {
            task: [None] * len(self._parameters) for task in self._tasks
        }
        starts = [*layout.slots.values(), *ends]
        for (task, p), start, processes in zip(asked, starts, reached, strict=False):
            if processes and p in touched:
                rows[task][p] = self._sparse(start, p, touched[p])
            elif processes:
                rows[task][p] = self._entry(start, p)
        losses = list(self._buffer[layout.losses : layout.counts].clone())
        return GradientRows(self._tasks, list(rows.values()), losses, [self._buffer])

    def _touched(self) -> dict[int, Tensor]:
        """The rows of each table that any process's step touched: [U], rising."""
        mine = []
        for p in sorted(self._tables):
            found = [row[p]._indices()[0] for row in self._rows.values() if p in row]
            none = torch.empty(0, dtype=torch.int64)
            mine.append(_distinct(torch.cat(found)) if found else none)
        if not mine:
            return {}
        device = self._parameters[0].device
        counts = torch.tensor([len(rows) for rows in mine], device=device)
        told = [torch.empty_like(counts) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(told, counts, group=self._group)
        most = int(torch.stack(told).sum(1).max())
        padded = torch.full((most,), -1, dtype=torch.int64, device=device)
        padded[: int(counts.sum())] = torch.cat([rows.to(device) for rows in mine])
        others = [torch.empty_like(padded) for _ in told]
        dist.all_gather(others, padded, group=self._group)
        parts = [
            torch.split(rows, [*counts.tolist(), most - int(counts.sum())])
            for rows, counts in zip(others, told, strict=True)
        ]
        return {
            p: _distinct(torch.cat([part[number] for part in parts]))
            for number, p in enumerate(sorted(self._tables))
        }

    def _put_tables(self, layout: _Layout, touched: Mapping[int, Tensor]) -> list[int]:
        """Put what waits of the tables behind all else: where each begins, and where all end."""
        widths = [len(touched[p]) * self._parameters[p][0].numel() for _, p in layout.tables]
        ends = list(accumulate(widths, initial=layout.size))
        self._make_room(ends[-1])
        self._buffer[layout.size : ends[-1]].zero_()
        for (task, p), start in zip(layout.tables, ends, strict=False):
            if p in (row := self._rows.get(task, {})):
                entry = row[p].coalesce()
                places = torch.searchsorted(touched[p], entry.indices()[0])
                self._values(start, p, touched[p]).index_copy_(0, places, entry.values())
        return ends

    def _values(self, start: int, p: int, touched: Tensor) -> Tensor:
        shape = len(touched), *self._parameters[p].shape[1:]
        return self._buffer[start : start + math.prod(shape)].view(shape)

    def _sparse(self, start: int, p: int, touched: Tensor) -> Tensor:
        values = self._values(start, p, touched)
        shape = self._parameters[p].shape
        return torch.sparse_coo_tensor(
            touched[None], values, shape, is_coalesced=True, check_invariants=False
        )

    def _lay_out_early(self) -> None:
        """Agree on the step's tasks, in the order of the first process that has them."""
        early = super().take()
        told: list[Sequence[str]] = [()] * dist.get_world_size(self._group)
        dist.all_gather_object(told, early.tasks, group=self._group)
        self.start(list(dict.fromkeys(task for tasks in told for task in tasks)))
        for task, row, loss in zip(early.tasks, early.rows, early.losses, strict=True):
            self.add(task, row, loss)

    def _lay_out(self, by_layer: bool) -> _Layout:
        """The step's numbers by task, or by parameter from the last to the first."""
        reachable = [
            (task, p)
            for task in self._tasks
            for p, reached in enumerate(self._reach(task))
            if reached
        ]
        slots = [slot for slot in reachable if slot[1] not in self._tables]
        if by_layer:
            slots.sort(key=lambda slot: -slot[1])
        buckets = [list[tuple[str, int]]()]
        for _, whole in groupby(slots, itemgetter(1 if by_layer else 0)):
            if sum(self._parameters[p].numel() for _, p in buckets[-1]) >= BUCKET:
                buckets.append([])
            buckets[-1] += whole
        ends = list(accumulate((self._parameters[p].numel() for _, p in slots), initial=0))
        losses = ends[-1]
        counts = losses + len(self._tasks)
        starts = accumulate(map(len, buckets), initial=0)
        return _Layout(
            dict(zip(slots, ends, strict=False)),
            [(ends[first], bucket) for first, bucket in zip(starts, buckets, strict=False)],
            [slot for slot in reachable if slot[1] in self._tables],
            losses,
            counts,
            counts + len(reachable) + 1,
        )

    def _entry(self, start: int, p: int) -> Tensor:
        parameter = self._parameters[p]
        return self._buffer[start : start + parameter.numel()].view(parameter.shape)


def _distinct(rows: Tensor) -> Tensor:
    """Each once, rising."""
    found: Tensor = rows.unique()  # type: ignore[no-untyped-call]
    return found
