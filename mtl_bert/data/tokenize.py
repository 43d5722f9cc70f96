"""Texts to token numbers, once and for all examples, in one flat array.

Shapes: N examples, S sequences (N, or 2 N where a pair's sentences are encoded alone), T tokens.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mtl_bert.data.corpus import Source
from mtl_bert.data.table import BadRow, Table
from mtl_bert.data.token_cache import META, Cache, Entry, UnknownContentError, code_of, digest, read
from mtl_bert.tasks import Task

CHUNK = 8192  # texts given to the tokenizer at once: enough to keep its threads busy


@dataclass(frozen=True)
class Encoded:
    """The tokens of a table, and what else of it is needed once there are tokens.

    Attributes:
        tokens: the sequences' token numbers, end to end: [T] uint16, or int32 where the vocabulary
            is larger.
        types: the segment of each token, or None where the encoder knows no segments: [T] uint8.
        offsets: where each sequence begins, and the end of the last: [S + 1] int64.
        per_example: sequences of one example, 1 or 2.
        labels: [N] float64, or None.
        cut: whether a sequence was cut at the encoder's limit: [S] bool.
        origin: the table's.
        skipped: the table's rows that could not be used.
    """

    tokens: NDArray[np.uint16] | NDArray[np.int32]
    types: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    per_example: int
    labels: NDArray[np.float64] | None
    cut: NDArray[np.bool_]
    origin: str
    skipped: tuple[BadRow, ...] = ()

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

    @property
    def truncated(self) -> int:
        """Sequences that were cut."""
        return int(self.cut.sum())

    def take(self, rows: NDArray[np.int64]) -> "Encoded":
        """Some of the examples, as if their table had no others.

        Args:
            rows: ascending, none twice.
        """
        kept = np.zeros(len(self), np.bool_)
        kept[rows] = True
        sequences = np.repeat(kept, self.per_example)
        lengths = np.diff(self.offsets)
        tokens = np.repeat(sequences, lengths)
        return Encoded(
            self.tokens[tokens],
            None if self.types is None else self.types[tokens],
            np.concatenate([[0], np.cumsum(lengths[sequences])]),
            self.per_example,
            None if self.labels is None else self.labels[kept],
            self.cut[sequences],
            self.origin,
            self.skipped,
        )

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """The numbers of all examples in batches of like length, the longest first.

        Batches of random lengths are about half padding, which takes as long as text.
        """
        by_length = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(self), size):
            yield by_length[start : start + size]


def encode(
    table: Table,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    joint: bool,
    bar: bool = False,
) -> Encoded:
    """Encode a table's texts.

    Args:
        table: N rows of one text or a pair.
        tokenizer: the encoder's own.
        max_length: tokens that a sequence may have; what is longer is cut at its longer text.
        joint: a pair as one sequence ([CLS] a [SEP] b [SEP]), else as two.
        bar: whether to show on stderr how far it is.
    """
    pair = len(table.texts[0]) == 2
    per_example = 2 if pair and not joint else 1
    sequences: Sequence[tuple[str, ...]] = table.texts
    if per_example == 2:
        sequences = [(text,) for texts in table.texts for text in texts]
    has_types = "token_type_ids" in tokenizer.model_input_names
    encoded_chunks = _fast if _is_fast(tokenizer) else _by_the_tokenizer
    token_type = np.uint16 if max(tokenizer.get_vocab().values()) < 2**16 else np.int32
    tokens, types, lengths, cut = [], [], [], []
    with tqdm(
        total=len(sequences),
        desc=f"encoding {table.origin}",
        unit=" texts" if len(sequences[0]) == 1 else " pairs",
        unit_scale=True,
        leave=False,
        disable=not bar,
    ) as shown:
        for chunk in _chunks(sequences):
            encoded = encoded_chunks(chunk, tokenizer, max_length, has_types)
            lengths.append(encoded.lengths)
            total = int(encoded.lengths.sum())
            flat = chain.from_iterable
            tokens.append(np.fromiter(flat(encoded.tokens), token_type, total))
            if has_types:
                types.append(np.fromiter(flat(encoded.types), np.uint8, total))
            cut.append(encoded.cut)
            shown.update(len(chunk))
    return Encoded(
        np.concatenate(tokens),
        np.concatenate(types) if has_types else None,
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
        per_example,
        table.labels,
        np.concatenate(cut),
        table.origin,
        table.skipped,
    )


class _Chunk(NamedTuple):
    """Some sequences: what each has in tokens and segments, how many, and whether it was cut."""

    tokens: Iterable[Sequence[int]]
    types: Iterable[Sequence[int]]
    lengths: NDArray[np.int64]
    cut: NDArray[np.bool_]


def _is_fast(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a call of the tokenizer is one of its backend and nothing more."""
    own = getattr(type(tokenizer), "_encode_plus", None)
    return own is PreTrainedTokenizerFast._encode_plus


def _by_the_tokenizer(
    chunk: Sequence[tuple[str, ...]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    has_types: bool,
) -> _Chunk:
    """The tokenizer's own answer."""
    encoded = tokenizer(
        *(list(column) for column in zip(*chunk, strict=True)),
        truncation="longest_first",
        max_length=max_length,
        return_token_type_ids=has_types,
    )
    rows, backend = encoded["input_ids"], encoded.encodings
    return _Chunk(
        rows,
        encoded["token_type_ids"] if has_types else (),
        np.array([len(row) for row in rows], np.int64),
        np.array([bool(e.overflowing) for e in backend] if backend else [False] * len(rows)),
    )


def _fast(
    chunk: Sequence[tuple[str, ...]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    has_types: bool,
) -> _Chunk:
    """The same from the tokenizer's backend, without what nobody asks for (masks, offsets)."""
    _by_the_tokenizer(chunk[:1], tokenizer, max_length, has_types)  # tells the backend the limit
    backend: Any = tokenizer.backend_tokenizer
    texts = [row[0] for row in chunk] if len(chunk[0]) == 1 else chunk
    encodings = backend.encode_batch_fast(texts)
    return _Chunk(
        (encoding.ids for encoding in encodings),
        (encoding.type_ids for encoding in encodings),
        np.fromiter(map(len, encodings), np.int64, len(encodings)),
        np.fromiter((bool(e.overflowing) for e in encodings), np.bool_, len(encodings)),
    )


def _chunks(sequences: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    for start in range(0, len(sequences), CHUNK):
        yield sequences[start : start + CHUNK]


log = logging.getLogger(__name__)

ARRAYS = ("tokens", "types", "offsets", "labels", "cut")


@dataclass(frozen=True)
class Encoding:
    """How texts become tokens, and where these are kept.

    Attributes:
        tokenizer: the encoder's.
        longest: tokens that a sequence may have.
        joint: whether a pair is one sequence.
        cache: keeps the tokens, or None.
        bar: whether to show how far the tokenizer is.
    """

    tokenizer: PreTrainedTokenizerBase
    longest: int
    joint: bool
    cache: Cache | None = None
    bar: bool = False

    def __call__(self, table: Table) -> Encoded:
        """The tokens of a table, made anew."""
        return encode(table, self.tokenizer, self.longest, joint=self.joint, bar=self.bar)

    def prepare(
        self, task: Task, split: str, source: Source, get_table: Callable[[], Table]
    ) -> Encoded:
        """The tokens of a split, from the cache or made anew and kept there.

        Args:
            task: whose.
            split: train or dev.
            source: where it comes from.
            get_table: reads it, where there are no tokens of it.
        """
        if self.cache is None:
            return self(get_table())
        try:
            known = source.fingerprint(task, split)
            key = digest(known.digest, self._digest, code_of("mtl_bert.data"))
        except UnknownContentError as reason:
            log.info("cache: %s of %s is not kept (%s)", split, task.name, reason)
            return self(get_table())
        entry = self.cache.get(key, lambda: _entry(self(get_table())), known.origin)
        return _encoded(entry, known.origin)

    @cached_property
    def _digest(self) -> str:
        """What stands for the tokenizer and its settings.

        Raises:
            UnknownContentError: it is not made of transformers' and the tokenizers library alone.
        """
        tokenizer, made = self.tokenizer, type(self.tokenizer)
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if not hasattr(backend, "to_str") or made.__module__.partition(".")[0] != "transformers":
            raise UnknownContentError(f"{made.__name__} cannot be told from others")
        state: dict[str, Any] = json.loads(backend.to_str())
        for used in ("truncation", "padding"):  # left by the last call; the next one sets it anew
            state.pop(used)
        return digest(
            made.__qualname__,
            json.dumps(state, sort_keys=True),
            tokenizer.model_input_names,
            tokenizer.truncation_side,
            tokenizer.split_special_tokens,
            self.longest,
            self.joint,
            *(version(library) for library in ("tokenizers", "transformers", "numpy")),
        )


@dataclass(frozen=True)
class Mapped(Encoded):
    """Tokens that are mapped from an entry of the cache.

    Attributes:
        place: the entry's directory.
    """

    place: Path = Path()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the arrays itself; it gets copies only if they are gone."""
        if (self.place / META).exists():
            return _mapped_again, (self.place, self.origin)
        return Encoded, tuple(getattr(self, field.name) for field in fields(Encoded))


def _entry(encoded: Encoded) -> Entry:
    arrays = {name: getattr(encoded, name) for name in ARRAYS}
    return Entry(
        {name: array for name, array in arrays.items() if array is not None},
        {
            "origin": encoded.origin,
            "rows": len(encoded),
            "per_example": encoded.per_example,
            "skipped": [[row.place, row.reason] for row in encoded.skipped],
        },
    )


def _encoded(entry: Entry, origin: str) -> Encoded:
    arrays: Mapping[str, Any] = {name: entry.arrays.get(name) for name in ARRAYS}
    skipped = tuple(BadRow(place, reason) for place, reason in entry.about["skipped"])
    known: dict[str, Any] = {
        "per_example": entry.about["per_example"],
        "origin": origin,
        "skipped": skipped,
    }
    if entry.place is None:
        return Encoded(**arrays, **known)
    return Mapped(**arrays, **known, place=entry.place)


def _mapped_again(place: Path, origin: str) -> Encoded:
    return _encoded(read(place, check=False), origin)
