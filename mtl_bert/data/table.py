"""The examples of one split of one task: rows as read and checked, and their tokens.

Tokens lie in a few flat arrays, which one file holds and processes can share.

Shapes: N examples, S sequences (N, or 2 N where a pair's texts are encoded alone), T tokens.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from mtl_bert.utils.errors import UserError

ARRAYS = ("tokens", "types", "offsets", "labels", "cut", "digests")


class DataError(UserError):
    """Data that cannot be used: one line says where, what was expected, found, and what to do."""


@dataclass(frozen=True)
class Table:
    """The usable rows of a split, in the file's order, N in number.

    Attributes:
        origin: the file or data set it came from.
        ids: what the file calls each row: [N].
        texts: one text or a pair for each row: [N].
        labels: [N] float64, or None where the split is unlabelled.
        skipped: the rows that could not be used, each its place and the reason.
        incomplete: rows that are here although something of them is missing or damaged, likewise.
    """

    origin: str
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.float64] | None
    skipped: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """The table of some of the rows."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
        )

    @classmethod
    def joined(cls, blocks: Sequence["Table"]) -> "Table":
        """The rows of one or several tables of the same origin, one after another."""
        labels = [block.labels for block in blocks if block.labels is not None and len(block)]
        ids, texts, skipped, incomplete = (
            tuple(chain.from_iterable(getattr(block, name) for block in blocks))
            for name in ("ids", "texts", "skipped", "incomplete")
        )
        known = np.concatenate(labels) if labels else None
        return cls(blocks[0].origin, ids, texts, known, skipped, incomplete)

    @cached_property
    def digests(self) -> NDArray[np.int64]:
        """A number for each row that tells its text or pair from others: [N]."""
        return np.fromiter(map(_digest, self.texts), np.int64, len(self))


@dataclass(frozen=True)
class Encoded:
    """The tokens of a table, and what else of the table is needed once there are tokens.

    Attributes:
        tokens: the sequences' token numbers, end to end: [T] uint16, or int32 where the vocabulary
            is larger.
        types: the segment of each token, or None where the encoder knows no segments: [T] uint8.
        offsets: where each sequence begins, and the end of the last: [S + 1] int64.
        per_example: sequences of one example, 1 or 2.
        labels: [N] float64, or None.
        cut: whether a sequence was cut at the encoder's limit: [S] bool.
        origin: the file or data set of the table.
        skipped: the table's rows that could not be used.
        digests: the table's, or None where they are not known.
        file: the file that the arrays are mapped from, or None where they are in memory.
    """

    tokens: NDArray[np.uint16] | NDArray[np.int32]
    types: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    per_example: int
    labels: NDArray[np.float64] | None
    cut: NDArray[np.bool_]
    origin: str
    skipped: tuple[str, ...] = ()
    digests: NDArray[np.int64] | None = None
    file: Path | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.per_example

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, over its sequences: [N]."""
        return np.diff(self.offsets[:: self.per_example])

    @property
    def truncated(self) -> int:
        """The number of sequences that were cut."""
        return int(self.cut.sum())

    def take(self, rows: NDArray[np.int64]) -> "Encoded":
        """The examples of some rows, ascending, as if their table had no others."""
        kept = np.zeros(len(self), np.bool_)
        kept[rows] = True
        sequences = np.repeat(kept, self.per_example)
        lengths = np.diff(self.offsets)
        tokens = np.repeat(sequences, lengths)
        return replace(
            self,
            tokens=self.tokens[tokens],
            types=None if self.types is None else self.types[tokens],
            offsets=np.concatenate([[0], np.cumsum(lengths[sequences])]),
            labels=None if self.labels is None else self.labels[kept],
            cut=self.cut[sequences],
            digests=None if self.digests is None else self.digests[kept],
            file=None,
        )

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of all examples in batches of similar length, the longest first."""
        # Batches of random lengths are about half padding, which takes as long as text.
        by_length = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(self), size):
            yield by_length[start : start + size]

    def to_bytes(self) -> bytes:
        """The content of a safetensors file from which ``open`` gives the same."""
        arrays = {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}
        about = {name: getattr(self, name) for name in ("origin", "per_example", "skipped")}
        return save(arrays, {"about": json.dumps(about | {"rows": len(self)})})

    @classmethod
    def open(cls, file: Path, origin: str) -> "Encoded":
        """Map the arrays of a file that ``to_bytes`` made, read-only and shared by processes.

        The table may come from elsewhere now, ``origin``, than when the file was written.

        Raises:
            OSError, SafetensorError: no such file, or another.
        """
        with safe_open(file, "pt") as opened:  # torch's reader maps the file, numpy's copies it
            arrays = {name: opened.get_tensor(name).numpy() for name in opened.keys()}  # noqa: SIM118
            about = json.loads(opened.metadata()["about"])
        for array in arrays.values():
            array.flags.writeable = False
        return cls(
            **dict.fromkeys(ARRAYS) | arrays,
            per_example=about["per_example"],
            origin=origin,
            skipped=tuple(about["skipped"]),
            file=file,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the file itself; it gets copies only where there is no file.
        if self.file is not None and self.file.exists():
            return Encoded.open, (self.file, self.origin)
        return Encoded, tuple(getattr(self, f.name) for f in fields(self) if f.name != "file")


def _digest(texts: tuple[str, ...]) -> int:
    whole = "\0".join((str(len(texts)), *texts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(whole, digest_size=8).digest(), "little", signed=True)
