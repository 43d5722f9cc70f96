"""Row numbers to tensors.

Shapes: B examples, S sequences (B or 2 B), N tokens over all of them, T tokens of the longest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
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
        labels: [B], or None.
        lengths: tokens of each sequence, never on a device: [S] int64.
        rows: the examples' row numbers in their table, likewise: [B] int64.
    """

    input_ids: Tensor
    token_type_ids: Tensor | None
    positions: Tensor
    cu_seqlens: Tensor
    labels: Tensor | None
    lengths: Rows
    rows: Rows

    @classmethod
    def of(
        cls,
        lengths: Rows,
        tokens: Rows,
        types: Rows | None,
        labels: Tensor | None,
        rows: Rows,
    ) -> "Batch":
        """A batch of sequences of such lengths: [S]."""
        segments = None if types is None else torch.from_numpy(types)
        return cls._laid_out(torch.from_numpy(tokens), segments, labels, lengths, rows)

    @classmethod
    def _laid_out(
        cls,
        tokens: Tensor,
        types: Tensor | None,
        labels: Tensor | None,
        lengths: Rows,
        rows: Rows,
    ) -> "Batch":
        ends = np.concatenate([[0], np.cumsum(lengths)])
        shifts = np.arange(len(lengths)) * int(lengths.max()) - ends[:-1]
        places = torch.from_numpy(np.arange(ends[-1]) + np.repeat(shifts, lengths))
        where = tokens.device
        cu_seqlens = torch.from_numpy(ends).to(where)
        return cls(tokens, types, places.to(where), cu_seqlens, labels, lengths, rows)

    def take(self, examples: Rows) -> "Batch":
        """Some of the examples, by their places in the batch, without labels."""
        sequences = _sequences(examples, self.per_example)
        lengths = self.lengths[sequences]
        flat = torch.from_numpy(_flat((np.cumsum(self.lengths) - self.lengths)[sequences], lengths))
        flat = flat.to(self.input_ids.device)
        types = None if self.token_type_ids is None else self.token_type_ids[flat]
        return self._laid_out(self.input_ids[flat], types, None, lengths, self.rows[examples])

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
            None,
            np.concatenate([batch.lengths for batch in batches]),
            np.concatenate([batch.rows for batch in batches]),
        )

    @classmethod
    def once(
        cls, batches: Sequence["Batch"], texts: Sequence[Rows]
    ) -> tuple["Batch", list[Rows | None]]:
        """Each text of several batches once, and where each batch's sequences are among these.

        Args:
            texts: a number for each example's text: [B] each.

        Returns:
            The batch, and for each of ``batches`` its S sequences' places, or None where they are
            the sequences of the batch, one by one.
        """
        known, parts, places = dict[int, int](), [], list[Rows]()
        for batch, numbers in zip(batches, texts, strict=True):
            new = []
            for place, number in enumerate(numbers.tolist()):
                if number not in known:
                    known[number] = len(known)
                    new.append(place)
            if new:
                parts.append(batch if len(new) == len(batch) else batch.take(np.array(new)))
            where = np.array([known[number] for number in numbers.tolist()])
            places.append(_sequences(where, batch.per_example))
        whole = parts[0] if len(parts) == 1 else cls.joined(parts)
        one_by_one = np.arange(whole.sequences)
        return whole, [None if np.array_equal(p, one_by_one) else p for p in places]

    @property
    def max_seqlen(self) -> int:
        """T."""
        return int(self.lengths.max())

    @property
    def sequences(self) -> int:
        """S."""
        return len(self.lengths)

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
        numbers, encoded = np.atleast_1d(rows), self.encoded
        sequences = _sequences(numbers, encoded.per_example)
        starts = encoded.offsets[sequences]
        lengths = encoded.offsets[sequences + 1] - starts
        flat = _flat(starts, lengths)
        types, labels = encoded.types, encoded.labels
        return Batch.of(
            lengths,
            encoded.tokens[flat].astype(np.int64),
            None if types is None else types[flat].astype(np.int64),
            None if labels is None else torch.from_numpy(labels[numbers]).to(self.label_type),
            numbers,
        )

    __getitems__ = __getitem__


def _sequences(examples: Rows, per_example: int) -> Rows:
    """The numbers of examples' sequences, one or two each."""
    numbers: Rows = (examples[:, None] * per_example + np.arange(per_example)).reshape(-1)
    return numbers


def _flat(starts: Rows, lengths: Rows) -> Rows:
    """Where sequences' tokens stand in a flat array: each sequence's start, counted on."""
    begins = np.cumsum(lengths) - lengths
    places: Rows = np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)
    return places


def as_it_is(batch: Batch) -> Batch:
    """The ``collate_fn`` of a data set that makes batches itself."""
    return batch
