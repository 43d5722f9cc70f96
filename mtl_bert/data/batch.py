"""Row numbers to tensors.

Shapes: B examples, S sequences (B or 2 B), N tokens over all of them, T tokens of the longest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mtl_bert.data.table import Encoded
from mtl_bert.sampling.epoch import Rows


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
    """

    input_ids: Tensor
    token_type_ids: Tensor | None
    positions: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    labels: Tensor | None
    rows: Tensor

    @classmethod
    def of(
        cls,
        lengths: NDArray[np.int64],
        tokens: NDArray[np.int64],
        types: NDArray[np.int64] | None,
        labels: Tensor | None,
        rows: Rows,
    ) -> "Batch":
        """A batch of sequences of such lengths: [S]."""
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
        )

    @classmethod
    def joined(cls, batches: Sequence["Batch"]) -> "Batch":
        """The sequences of several batches one after another, without labels."""
        T, sequences, tokens = max(batch.max_seqlen for batch in batches), 0, 0
        positions, ends = [], [batches[0].cu_seqlens[:1]]
        for batch in batches:
            row = batch.positions // batch.max_seqlen
            positions.append(batch.positions + row * (T - batch.max_seqlen) + sequences * T)
            ends.append(batch.cu_seqlens[1:] + tokens)
            sequences, tokens = sequences + batch.sequences, tokens + len(batch.input_ids)
        types = [b.token_type_ids for b in batches if b.token_type_ids is not None]
        return cls(
            torch.cat([batch.input_ids for batch in batches]),
            torch.cat(types) if types else None,
            torch.cat(positions),
            torch.cat(ends),
            T,
            None,
            torch.cat([batch.rows for batch in batches]),
        )

    @property
    def sequences(self) -> int:
        """S."""
        return len(self.cu_seqlens) - 1

    @property
    def per_example(self) -> int:
        """Sequences of one example, 1 or 2 (a pair's two stand next to each other)."""
        return self.sequences // len(self.rows)

    def padded(self, values: Tensor, fill: int) -> Tensor:
        """A number for each token, in the padded form: [N] to [S, T]."""
        table = values.new_full([self.sequences * self.max_seqlen], fill)
        return table.index_copy_(0, self.positions, values).view(-1, self.max_seqlen)

    @property
    def mask(self) -> Tensor:
        """True at tokens, False at padding: [S, T]."""
        return self.padded(torch.ones_like(self.positions, dtype=torch.bool), 0)

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device, non_blocking: bool = True) -> "Batch":
        """The same batch on a device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        held: list[Any] = [change(x) if isinstance(x, Tensor) else x for x in vars(self).values()]
        return Batch(*held)


@dataclass(frozen=True)
class Tokenized(Dataset[Batch]):
    """A task's tokens as a map-style data set, which makes the rows of a batch at once."""

    encoded: Encoded
    label_type: torch.dtype  # that the task's loss expects

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, rows: int | Sequence[int] | Rows) -> Batch:
        numbers, encoded, S = np.atleast_1d(rows), self.encoded, self.encoded.per_example
        sequences = (numbers[:, None] * S + np.arange(S)).reshape(-1)
        starts = encoded.offsets[sequences]
        lengths = encoded.offsets[sequences + 1] - starts
        # Where the tokens stand in the flat array: each sequence's start, counted on.
        begins = np.cumsum(lengths) - lengths
        flat = np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)
        types, labels = encoded.types, encoded.labels
        return Batch.of(
            lengths,
            encoded.tokens[flat].astype(np.int64),
            None if types is None else types[flat].astype(np.int64),
            None if labels is None else torch.from_numpy(labels[numbers]).to(self.label_type),
            numbers,
        )

    __getitems__ = __getitem__


def as_it_is(batch: Batch) -> Batch:
    """The ``collate_fn`` of a data set that makes batches itself."""
    return batch
