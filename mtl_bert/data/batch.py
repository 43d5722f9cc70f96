"""Row numbers to tensors.

Shapes: B examples, S sequences (B or 2 B), N tokens over all of them, T tokens of the longest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_bert.data.encoded import Encoded
from mtl_bert.sampling.epoch import Phase, Rows, Step, portion


@dataclass(frozen=True)
class Batch:
    """The examples of one task in one step, their sequences end to end, without padding.

    Attributes:
        input_ids: token numbers: [N] int64.
        token_type_ids: segments, or None where the encoder knows none: [N] int64.
        positions: where each token stands in the padded form [S, T], counted row by row: [N] int64.
        cu_seqlens: where each sequence begins, and the end of the last: [S + 1] int64.
        max_seqlen: T.
        labels: [B], or None.
        rows: the examples' row numbers in their table: [B] int64.
        per_example: sequences of one example, 1 or 2 (a pair's two stand next to each other).
        pad_token_id: the number of the padding token.
    """

    input_ids: Tensor
    token_type_ids: Tensor | None
    positions: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    labels: Tensor | None
    rows: Tensor
    per_example: int
    pad_token_id: int

    @classmethod
    def of(
        cls,
        lengths: NDArray[np.int64],
        tokens: NDArray[np.int64],
        types: NDArray[np.int64] | None,
        labels: Tensor | None,
        rows: Rows,
        per_example: int,
        pad_token_id: int,
    ) -> "Batch":
        """A batch of sequences of such lengths [S]."""
        max_seqlen = int(lengths.max())
        ends = np.concatenate([[0], np.cumsum(lengths)])
        shifts = np.arange(len(lengths)) * max_seqlen - ends[:-1]
        return cls(
            torch.from_numpy(tokens),
            None if types is None else torch.from_numpy(types),
            torch.from_numpy(np.arange(ends[-1]) + np.repeat(shifts, lengths)),
            torch.from_numpy(ends),
            max_seqlen,
            labels,
            torch.from_numpy(rows),
            per_example,
            pad_token_id,
        )

    def padded(self, values: Tensor, fill: int) -> Tensor:
        """A number for each token, in the padded form: [N] to [S, T]."""
        table = values.new_full([(len(self.cu_seqlens) - 1) * self.max_seqlen], fill)
        return table.index_copy_(0, self.positions, values).view(-1, self.max_seqlen)

    @property
    def mask(self) -> Tensor:
        """True at tokens, False at padding: [S, T]."""
        return self.padded(torch.ones_like(self.positions, dtype=torch.bool), 0)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.rows)

    def to(self, device: torch.device, non_blocking: bool = True) -> "Batch":
        """The same batch on a device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


class StepBatch:
    """A plan's step, with the tensors of the rows that this process takes.

    Not a dataclass, because Lightning takes those apart and ours hold more than tensors.

    Args:
        epoch: counted from 1.
        number: of the step in its epoch, from 0.
        step: as planned.
        tasks: for each represented task, batches of this process's rows, possibly none.
    """

    def __init__(
        self, epoch: int, number: int, step: Step, tasks: Mapping[str, Sequence[Batch]]
    ) -> None:
        self.epoch, self.number, self.step, self.tasks = epoch, number, step, tasks

    @property
    def phase(self) -> Phase:
        """The step's."""
        return self.step.phase

    def share(self, task: str, batch: Batch) -> float:
        """A batch's examples by all of the task's in the step, in whatever process."""
        return len(batch) / len(self.step.rows[task])

    def to(self, device: torch.device, non_blocking: bool = True) -> "StepBatch":
        """The same step on a device."""
        return self._with(lambda batch: batch.to(device, non_blocking))

    def pin_memory(self) -> "StepBatch":
        """The same step in page-locked memory."""
        return self._with(Batch.pin_memory)

    def _with(self, change: Callable[[Batch], Batch]) -> "StepBatch":
        tasks = {task: [change(batch) for batch in parts] for task, parts in self.tasks.items()}
        return StepBatch(self.epoch, self.number, self.step, tasks)


@dataclass(frozen=True)
class Share:
    """What one process takes of a step, and in how many parts.

    Attributes:
        process: from 0.
        processes: that take part.
        parts: of a task's examples that go through the model one after another.
    """

    process: int = 0
    processes: int = 1
    parts: int = 1

    def of(self, rows: Rows) -> list[Rows]:
        """The parts; fewer, or none, where a small batch does not give so many."""
        mine = portion(rows, self.process, self.processes)
        parts = [portion(mine, part, self.parts) for part in range(self.parts)]
        return [part for part in parts if len(part)]


def collate(encoded: Encoded, rows: Rows, label_type: torch.dtype, pad_token_id: int) -> Batch:
    """Gather the sequences of some rows."""
    S = encoded.per_example
    sequences = (rows[:, None] * S + np.arange(S)).reshape(-1)
    starts = encoded.offsets[sequences]
    lengths = encoded.offsets[sequences + 1] - starts
    # Where the tokens stand in the flat array: each sequence's start, counted on.
    begins = np.cumsum(lengths) - lengths
    flat = np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)
    labels = None if encoded.labels is None else torch.from_numpy(encoded.labels[rows])
    return Batch.of(
        lengths,
        encoded.tokens[flat].astype(np.int64),
        None if encoded.types is None else encoded.types[flat].astype(np.int64),
        None if labels is None else labels.to(label_type),
        rows,
        S,
        pad_token_id,
    )


def collate_step(
    epoch: int,
    number: int,
    step: Step,
    encoded: Mapping[str, Encoded],
    label_types: Mapping[str, torch.dtype],
    pad: int,
    share: Share,
) -> StepBatch:
    """Turn a process's share of a planned step into tensors."""
    tasks = {
        task: [collate(encoded[task], part, label_types[task], pad) for part in share.of(rows)]
        for task, rows in step.rows.items()
    }
    return StepBatch(epoch, number, step, tasks)
