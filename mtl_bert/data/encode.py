"""Texts to token numbers, once and for all examples, in one flat array.

Shapes: N examples, S sequences (N, or 2 N where a pair's sentences are encoded alone), T tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from mtl_bert.data.table import Table

CHUNK = 8192  # texts given to the tokenizer at once: enough to keep its threads busy


@dataclass(frozen=True)
class Encoded:
    """The tokens of a table.

    Attributes:
        tokens: the sequences' token numbers, end to end: [T] int32.
        types: the segment of each token, or None where the encoder knows no segments: [T] uint8.
        offsets: where each sequence begins, and the end of the last: [S + 1] int64.
        per_example: sequences of one example, 1 or 2.
        labels: [N] float64, or None.
        truncated: sequences that were cut at the encoder's limit.
    """

    tokens: NDArray[np.int32]
    types: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    per_example: int
    labels: NDArray[np.float64] | None
    truncated: int

    def __len__(self) -> int:
        """The number of examples."""
        return (len(self.offsets) - 1) // self.per_example

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, over its sequences: [N]."""
        return (
            self.offsets[self.per_example :: self.per_example]
            - self.offsets[: -1 : self.per_example]
        )

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of all examples in batches of like length, the longest first.

        Batches of random lengths are about half padding, which takes as long as text.
        """
        by_length = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(self), size):
            yield by_length[start : start + size]


def encode(
    table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int, *, joint: bool
) -> Encoded:
    """Encode a table's texts.

    Args:
        table: N rows of one text or a pair.
        tokenizer: the encoder's own.
        max_length: tokens that a sequence may have; what is longer is cut at its longer text.
        joint: a pair as one sequence ([CLS] a [SEP] b [SEP]), else as two.
    """
    pair = len(table.texts[0]) == 2
    per_example = 2 if pair and not joint else 1
    sequences: Sequence[tuple[str, ...]] = table.texts
    if per_example == 2:
        sequences = [(text,) for texts in table.texts for text in texts]
    has_types = "token_type_ids" in tokenizer.model_input_names
    tokens, types, truncated = [], [], 0
    lengths: list[int] = []
    for chunk in _chunks(sequences):
        encoded = tokenizer(
            *(list(column) for column in zip(*chunk, strict=True)),
            truncation="longest_first",
            max_length=max_length,
            return_token_type_ids=has_types,
        )
        rows = encoded["input_ids"]
        tokens.append(np.fromiter((t for row in rows for t in row), np.int32))
        lengths.extend(len(row) for row in rows)
        truncated += sum(bool(e.overflowing) for e in encoded.encodings or ())
        if has_types:
            segments = encoded["token_type_ids"]
            types.append(np.fromiter((t for row in segments for t in row), np.uint8))
    return Encoded(
        np.concatenate(tokens),
        np.concatenate(types) if has_types else None,
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        per_example,
        table.labels,
        truncated,
    )


def _chunks(sequences: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    for start in range(0, len(sequences), CHUNK):
        yield sequences[start : start + CHUNK]
