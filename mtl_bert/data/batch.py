"""Row numbers to tensors.

Shapes: B examples, S sequences (B or 2 B), N tokens over all of them, T tokens of the longest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mtl_bert.data.tokenize import Encoded
from mtl_bert.sampling.epoch import Rows


@dataclass(frozen=True)
class Batch:
    """The examples of one task in one step, their sequences end to end.

    Attributes:
        tokens: token numbers: [N] int64.
        types: segments, or None where the encoder knows none: [N] int64.
        places: where each token stands once the sequences are spread out to [S, T]: [N] int64.
        starts: where each sequence begins: [S] int64.
        longest: T.
        labels: [B], or None.
        rows: where the examples stand in their table: [B] int64.
        per_example: sequences of one example, 1 or 2 (then a pair's stand next to each other).
        pad: the padding token's number.
    """

    tokens: Tensor
    types: Tensor | None
    places: Tensor
    starts: Tensor
    longest: int
    labels: Tensor | None
    rows: Tensor
    per_example: int
    pad: int

    @classmethod
    def of(
        cls,
        lengths: NDArray[np.int64],
        tokens: NDArray[np.int64],
        types: NDArray[np.int64] | None,
        labels: Tensor | None,
        rows: Rows,
        per_example: int,
        pad: int,
    ) -> "Batch":
        """A batch of sequences of such lengths [S]."""
        longest = int(lengths.max())
        starts = np.cumsum(lengths) - lengths
        shifts = np.arange(len(lengths)) * longest - starts
        return cls(
            torch.from_numpy(tokens),
            None if types is None else torch.from_numpy(types),
            torch.from_numpy(np.arange(lengths.sum()) + np.repeat(shifts, lengths)),
            torch.from_numpy(starts),
            longest,
            labels,
            torch.from_numpy(rows),
            per_example,
            pad,
        )

    def padded(self, values: Tensor, fill: int) -> Tensor:
        """A number for each token, spread out: [N] to [S, T]."""
        room = values.new_full([len(self.starts) * self.longest], fill)
        return room.index_copy_(0, self.places, values).view(-1, self.longest)

    @property
    def mask(self) -> Tensor:
        """True at tokens: [S, T]."""
        room = self.places.new_zeros([len(self.starts) * self.longest], dtype=torch.bool)
        return room.index_fill_(0, self.places, True).view(-1, self.longest)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.rows)

    def to(self, device: torch.device, non_blocking: bool = True) -> "Batch":
        """The same batch on a device."""
        return _map(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory."""
        return _map(self, Tensor.pin_memory)


def collate(encoded: Encoded, rows: Rows, label_type: torch.dtype, pad: int) -> Batch:
    """Gather the sequences of some rows."""
    S = encoded.per_example
    sequences = (rows[:, None] * S + np.arange(S)).reshape(-1)
    starts = encoded.offsets[sequences]
    lengths = encoded.offsets[sequences + 1] - starts
    # Positions of all the tokens in the flat array: each sequence's start, counted on.
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
        pad,
    )


class Tokenized(Dataset[Batch]):
    """A task's tokens as a map-style data set, which makes the rows of a batch at once.

    Args:
        encoded: the task's tokens.
        label_type: what its loss expects of labels.
        pad: the padding token's number.
    """

    def __init__(self, encoded: Encoded, label_type: torch.dtype, pad: int) -> None:
        self._encoded, self._label_type, self._pad = encoded, label_type, pad

    def __len__(self) -> int:
        """The number of examples."""
        return len(self._encoded)

    def __getitem__(self, row: int) -> Batch:
        """A batch of one example."""
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """A batch of these examples."""
        return collate(self._encoded, np.asarray(rows), self._label_type, self._pad)


def as_it_is(batch: Batch) -> Batch:
    """The ``collate_fn`` of a data set that makes batches itself."""
    return batch


def _map(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    return replace(
        batch,
        tokens=change(batch.tokens),
        types=None if batch.types is None else change(batch.types),
        places=change(batch.places),
        starts=change(batch.starts),
        labels=None if batch.labels is None else change(batch.labels),
        rows=change(batch.rows),
    )
