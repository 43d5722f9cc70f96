"""Texts to token numbers, once and for all examples of a table.

Shapes: S sequences (an example's text or pair, or each text of a pair), T tokens.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mtl_bert.data.corpus import refuse, report
from mtl_bert.data.sources.records import Source
from mtl_bert.data.table import Encoded, Table
from mtl_bert.data.token_cache import Cache, UnknownContentError, code_of, digest
from mtl_bert.tasks import Task

log = logging.getLogger(__name__)

CODE = ("mtl_bert.data", "mtl_bert.data.sources")  # makes entries, so that a change makes new ones
CHUNK = 8192  # texts given to the tokenizer at once: enough to keep its threads busy
LETTERS = 2**22  # and letters: it takes about 50 bytes for each
ENDLESS_WORD = re.compile(r"(?<!\S)(\S{100000})\S+")  # no tokenizer makes sense of the rest


@dataclass(frozen=True)
class Tokenize:
    """Turns tables into tokens: ``Tokenize(tokenizer, 128)(table)``.

    Attributes:
        tokenizer: the encoder's own.
        max_length: tokens that a sequence may have; the longer text of a longer one is cut.
        cross_encode: whether a pair is one sequence ([CLS] a [SEP] b [SEP]), else it is two.
        bar: whether to show on stderr how far it is.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    cross_encode: bool = True
    bar: bool = False

    def __call__(self, table: Table) -> Encoded:
        """The tokens of a table of at least one row."""
        pair = len(table.texts[0]) == 2
        per_example = 2 if pair and not self.cross_encode else 1
        sequences: Sequence[tuple[str, ...]] = table.texts
        if per_example == 2:
            sequences = [(text,) for texts in table.texts for text in texts]
        token_type = np.uint16 if max(self.tokenizer.get_vocab().values()) < 2**16 else np.int32
        tokens, types, lengths, cut = [], [], [], []
        with tqdm(
            total=len(sequences),
            desc=f"encoding {table.origin}",
            unit=" texts" if len(sequences[0]) == 1 else " pairs",
            unit_scale=True,
            leave=False,
            disable=not self.bar,
        ) as shown:
            for chunk in self._chunks(sequences):
                ids, segments, was_cut = self._encode(chunk)
                lengths.append(np.array([len(row) for row in ids]))
                total = int(lengths[-1].sum())
                tokens.append(np.fromiter(chain.from_iterable(ids), token_type, total))
                types.append(np.fromiter(chain.from_iterable(segments), np.uint8, total))
                cut.append(np.array(was_cut, np.bool_))
                shown.update(len(ids))
        return Encoded(
            np.concatenate(tokens),
            np.concatenate(types) if self._has_types else None,
            np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
            per_example,
            table.labels,
            np.concatenate(cut),
            table.origin,
            table.skipped,
        )

    def cached(
        self,
        cache: Cache | None,
        source: Source,
        task: Task,
        split: str,
        read: Callable[[], Table],
    ) -> Encoded:
        """The tokens of a task's split, from the cache or made anew and kept there.

        ``read`` gives the split's table, and is called only where there are no tokens of it.
        """
        if cache is None:
            return self(read())
        try:
            known = source.fingerprint(task, split)
            key = digest(known.digest, self._digest, *map(code_of, CODE))
        except UnknownContentError as reason:
            log.info("cache: %s of %s is not kept (%s)", split, task.name, reason)
            return self(read())
        return cache.get(key, lambda: self(read()), known.origin)

    @cached_property
    def _digest(self) -> str:
        tokenizer, made = self.tokenizer, type(self.tokenizer)
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        # Of a tokenizer that is not transformers' and the tokenizers library's we know no code.
        if not hasattr(backend, "to_str") or made.__module__.partition(".")[0] != "transformers":
            raise UnknownContentError(f"{made.__name__} cannot be told from others")
        state: dict[str, Any] = json.loads(backend.to_str())
        for used in ("truncation", "padding"):  # left by the last call; the next one sets it anew
            state.pop(used)
        return digest(
            made.__qualname__,
            state,
            tokenizer.model_input_names,
            tokenizer.truncation_side,
            tokenizer.split_special_tokens,
            self.max_length,
            self.cross_encode,
            *(version(library) for library in ("tokenizers", "transformers", "numpy")),
        )

    @cached_property
    def _has_types(self) -> bool:
        return "token_type_ids" in self.tokenizer.model_input_names

    @cached_property
    def _is_plain(self) -> bool:
        """Whether a call of the tokenizer is one of its backend and nothing more."""
        own = getattr(type(self.tokenizer), "_encode_plus", None)
        return own is PreTrainedTokenizerFast._encode_plus

    def _chunks(self, sequences: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
        chunk: list[tuple[str, ...]] = []
        letters = 0
        for texts in sequences:
            shown = tuple(self._needed(text) for text in texts)
            chunk.append(shown)
            letters += sum(map(len, shown))
            if len(chunk) == CHUNK or letters >= LETTERS:
                yield chunk
                chunk, letters = [], 0
        if chunk:
            yield chunk

    def _needed(self, text: str) -> str:
        """Of a text of a million letters, a part that has more tokens than are kept of it.

        Where both texts of a pair are such, the parts decide which has one token more.
        """
        size = LETTERS // 4
        while size < len(text) and self.tokenizer.truncation_side == "right":
            # The word at the cut is left out, lest it give other tokens.
            part = "".join(text[:size].rsplit(maxsplit=1)[:1])
            shown = self.tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)
            if len(shown["input_ids"]) > self.max_length:
                return part
            size, text = 2 * size, ENDLESS_WORD.sub(r"\1", text)
        return text

    def _encode(
        self, chunk: Sequence[tuple[str, ...]]
    ) -> tuple[list[Sequence[int]], list[Sequence[int]], list[bool]]:
        """Token numbers, segments and whether it was cut, of each sequence."""
        # A tokenizer that cuts a pair keeps each part of one text with each of the other, in the
        # memory of the product of their lengths. So it cuts nothing, and the rest is dropped here.
        how: dict[str, Any] = {"truncation": False, "verbose": False, "return_token_type_ids": True}
        if self._is_plain:  # without what nobody asks for (masks, places in the text)
            self.tokenizer("", **how)  # tells the backend
            backend: Any = self.tokenizer.backend_tokenizer
            rows = backend.encode_batch_fast([row[0] if len(row) == 1 else row for row in chunk])
            ids, types = [row.ids for row in rows], [row.type_ids for row in rows]
        else:
            encoded = self.tokenizer(*map(list, zip(*chunk, strict=True)), **how)
            ids, types, rows = encoded["input_ids"], encoded["token_type_ids"], encoded.encodings
        cut = [len(row) > self.max_length for row in ids]
        for at in np.flatnonzero(cut).tolist():
            if rows:
                kept = self._kept(rows[at].sequence_ids)
                ids[at], types[at] = np.array(ids[at])[kept], np.array(types[at])[kept]
            else:  # a tokenizer in Python, which keeps nothing of what it cuts
                how |= {"truncation": "longest_first", "max_length": self.max_length}
                again = self.tokenizer(*chunk[at], **how)
                ids[at], types[at] = again["input_ids"], again["token_type_ids"]
        return ids, types, cut

    def _kept(self, texts: Sequence[int | None]) -> NDArray[np.bool_]:
        """Which tokens stay when the longer text is cut, and then both evenly: [T].

        Args:
            texts: the text that each token is of, 0 or 1, or None for [CLS] and its like: [T].
        """
        text_of = np.array([-1 if text is None else text for text in texts])
        kept = text_of < 0
        room = self.max_length - int(kept.sum())
        of_texts = [np.flatnonzero(text_of == text) for text in range(text_of.max() + 1)]
        if self.tokenizer.truncation_side == "left":
            of_texts = [tokens[::-1] for tokens in of_texts]
        for others, tokens in enumerate(sorted(of_texts, key=len), 1 - len(of_texts)):
            share = tokens[: room // (1 - others)]
            kept[share] = True
            room -= len(share)
        return kept


class Tokens:
    """Turns the tables of a run into tokens, and counts what it did.

    Args:
        tokenize: makes the tokens.
        cache: keeps them, or None.
        max_bad_share: of a table's rows that may be unusable.
    """

    def __init__(self, tokenize: Tokenize, cache: Cache | None, max_bad_share: float) -> None:
        self._tokenize, self._cache, self._max_bad_share = tokenize, cache, max_bad_share
        self._seconds, self._made, self._total = 0.0, 0, 0

    def of(
        self,
        split: str,
        tasks: Sequence[Task],
        sources: Mapping[str, Source],
        tables: Mapping[str, Table] | None = None,
    ) -> dict[str, Encoded]:
        """All usable examples of each task's split.

        Args:
            split: train or dev.
            tasks: the tasks, in order.
            sources: where each task's data come from.
            tables: the split's whole tables, checked before; where they are not given, a file is
                read only if its tokens are not in the cache.

        Raises:
            DataError: a file that cannot be read or has too many bad rows.
        """

        def read(task: Task) -> Table:
            table = tables[task.name] if tables else sources[task.name].read(task, split)
            refuse(table, self._max_bad_share)  # before it is encoded, which takes long
            self._made += len(table)
            return table

        began = time.perf_counter()
        found = {}
        for task in tasks:
            found[task.name] = whole = self._tokenize.cached(
                self._cache, sources[task.name], task, split, partial(read, task)
            )
            self._total += len(whole)
        self._seconds += time.perf_counter() - began
        if tables is None:
            for whole in found.values():
                report(whole, self._max_bad_share)
        return found

    def report(self) -> None:
        """Log what was done, once nothing can be wrong with the data any more."""
        cached = self._total - self._made
        message = "encoded %s examples in %.1f s; %s were in the cache"
        log.info(message, f"{self._made:,}", self._seconds, f"{cached:,}")
