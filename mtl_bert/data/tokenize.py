"""Texts to token numbers, once and for all examples of a table.

Shapes: S sequences (an example's text or pair, or each text of a pair), T tokens.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mtl_bert.data.table import Encoded, Table
from mtl_bert.data.token_cache import UnknownContentError, digest

CHUNK = 8192  # texts given to the tokenizer at once: enough to keep its threads busy
CHARACTERS = 2**20  # and letters: it takes 50 bytes for each, and seven times that for long pairs
LETTERS = 64  # of a text, for each token that may be kept, before it is looked at more closely
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
        return self.blocks([table], len(table))

    def blocks(self, tables: Iterable[Table], rows: int | None = None) -> Encoded:
        """The same of a table in several parts, whose texts need not be there at once.

        ``rows`` is how many there are, or about so many.
        """
        parts, labels, digests, skipped = [], [], [], list[str]()
        origin, alone = "", False
        how: dict[str, Any] = {"unit_scale": True, "leave": False, "disable": not self.bar}
        with tqdm(total=rows, desc="encoding", unit=" texts", **how) as shown:
            for table in tables:
                skipped += table.skipped
                sequences: Sequence[tuple[str, ...]] = table.texts
                if not sequences:
                    continue
                origin, alone = table.origin, len(sequences[0]) == 2 and not self.cross_encode
                shown.set_description(f"encoding {origin}", refresh=False)
                if len(sequences[0]) == 2 and not alone:
                    shown.unit = " pairs"
                if alone:
                    sequences = [(text,) for texts in sequences for text in texts]
                for chunk in self._chunks(sequences):
                    parts.append(self._encode(chunk))
                    shown.update(len(chunk) / (1 + alone))
                labels.append(table.labels)
                digests.append(table.digests)
        tokens, types, lengths, cut = map(np.concatenate, zip(*parts, strict=True))
        known = types if "token_type_ids" in self.tokenizer.model_input_names else None
        given = [of for of in labels if of is not None]
        all_labels = np.concatenate(given) if given else None
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        about = (origin, tuple(skipped), np.concatenate(digests))
        return Encoded(tokens, known, offsets, 1 + alone, all_labels, cut, *about)

    def up_to(self, length: int | None) -> "Tokenize":
        """The same with so many tokens of a sequence at most; None leaves it as it is."""
        return self if length is None else replace(self, max_length=length)

    @cached_property
    def digest(self) -> str:
        """A digest of all that decides what a table's tokens are, or UnknownContentError."""
        tokenizer, made = self.tokenizer, type(self.tokenizer)
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        # Of a tokenizer that is not transformers' and the tokenizers library's we know no code.
        if not hasattr(backend, "to_str") or made.__module__.partition(".")[0] != "transformers":
            raise UnknownContentError(f"{made.__name__} cannot be told from others")
        # What the last call left; the next one sets it anew.
        state = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        attributes = ("model_input_names", "truncation_side", "split_special_tokens")
        own = [getattr(tokenizer, name) for name in attributes]
        libraries = [version(library) for library in ("tokenizers", "transformers", "numpy")]
        how = (self.max_length, self.cross_encode)
        return digest(made.__qualname__, state, own, libraries, how)

    @cached_property
    def _token_type(self) -> type[np.uint16] | type[np.int32]:
        return np.uint16 if max(self.tokenizer.get_vocab().values()) < 2**16 else np.int32

    def _chunks(self, sequences: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
        chunk: list[tuple[str, ...]] = []
        letters = 0
        for texts in sequences:
            chunk.append(tuple(map(self._needed, texts)))
            letters += sum(map(len, chunk[-1]))
            if len(chunk) == CHUNK or letters >= CHARACTERS:
                yield chunk
                chunk, letters = [], 0
        if chunk:
            yield chunk

    def _needed(self, text: str) -> str:
        """Of a long text, a part that has more tokens than are kept of it.

        A tokenizer that cuts a pair keeps each part of one text with each of the other, in memory
        that grows with the product of their lengths. Where both texts of a pair are long, the parts
        decide which has one token more.
        """
        size = LETTERS * self.max_length
        while size < len(text):
            # The word at the cut is left out, lest it give other tokens.
            if self.tokenizer.truncation_side == "right":
                part = "".join(text[:size].rsplit(maxsplit=1)[:1])
            else:
                part = "".join(text[-size:].split(maxsplit=1)[1:])
            shown = self.tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)
            if len(shown["input_ids"]) > self.max_length:
                return part
            size, text = 2 * size, ENDLESS_WORD.sub(r"\1", text)
        return text

    def _encode(self, chunk: Sequence[tuple[str, ...]]) -> tuple[NDArray[Any], ...]:
        """Tokens [T] and their segments [T], each sequence's length [S] and whether it was cut."""
        how: dict[str, Any] = {"max_length": self.max_length, "return_token_type_ids": True}
        how |= {"truncation": "longest_first", "verbose": False}
        own = getattr(type(self.tokenizer), "_encode_plus", None)
        if own is PreTrainedTokenizerFast._encode_plus:  # without masks and places in the text
            self.tokenizer("", **how)  # tells the backend
            backend: Any = self.tokenizer.backend_tokenizer
            rows = backend.encode_batch_fast([row[0] if len(row) == 1 else row for row in chunk])
            ids, types = [row.ids for row in rows], [row.type_ids for row in rows]
            cut = [bool(row.overflowing) for row in rows]
        else:
            columns = [*map(list, zip(*chunk, strict=True))]
            encoded, whole = (
                self.tokenizer(*columns, **how),
                self.tokenizer(*columns, verbose=False),
            )
            ids, types = encoded["input_ids"], encoded["token_type_ids"]
            cut = [len(row) > self.max_length for row in whole["input_ids"]]
        if not all(ids):  # a tokenizer without marks makes nothing of no text, which none can pool
            special = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, 0
            mark = next(number for number in special if number is not None)
            types = [kinds or [0] for kinds in types]
            ids = [row or [mark] for row in ids]
        lengths = np.array([len(row) for row in ids])
        tokens = np.fromiter(chain.from_iterable(ids), self._token_type, lengths.sum())
        segments = np.fromiter(chain.from_iterable(types), np.uint8, lengths.sum())
        return tokens, segments, lengths, np.array(cut)
