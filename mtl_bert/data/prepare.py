"""The tokens of a task's table: from the cache, or made anew where it does not have them."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from mtl_bert.caching import META, Cache, Entry, read
from mtl_bert.data.corpus import Source
from mtl_bert.data.encode import Encoded, encode
from mtl_bert.data.fingerprint import UnknownContentError, code_of, digest
from mtl_bert.data.table import BadRow, Table
from mtl_bert.tasks import Task

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
