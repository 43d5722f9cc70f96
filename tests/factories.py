"""Small tasks, tables and encoders that the tests of several rooms share."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from torch import nn
from torchmetrics.classification import BinaryAccuracy
from transformers import PreTrainedTokenizerBase

from mtl_bert.data.table import Encoded, Table
from mtl_bert.model import Tiny
from mtl_bert.tasks import Binary, Head, Task

TINY = Tiny(
    {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "initializer_range": 0.5,  # far from 0, so that outputs differ where inputs do
    }
)


def make_task(
    name: str = "toy",
    *,
    pair: bool = False,
    head: Head | None = None,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> Task:
    """A task whose name, texts, head or sources a test is about."""
    return Task(
        name=name,
        pair=pair,
        head=head or Binary(),
        loss=nn.BCEWithLogitsLoss(),
        metric_name="accuracy",
        metric=BinaryAccuracy,
        sources=sources or {},
    )


def make_table(texts: Sequence[tuple[str, ...]], labels: Sequence[float] | None = None) -> Table:
    """A table as a source would give it."""
    return Table(
        "somewhere",
        tuple(str(number) for number in range(len(texts))),
        tuple(texts),
        None if labels is None else np.array(labels, np.float64),
    )


def random_texts(
    tokenizer: PreTrainedTokenizerBase, count: int, columns: int, longest: int, seed: int = 0
) -> list[tuple[str, ...]]:
    """Texts of 1 to ``longest`` words that the tokenizer knows, whichever these are."""
    rng = np.random.default_rng(seed)
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha())
    return [
        tuple(" ".join(rng.choice(words, rng.integers(1, longest + 1))) for _ in range(columns))
        for _ in range(count)
    ]


def assert_tells(error: BaseException | object, *parts: str) -> None:
    """A message for users: one line with what was expected, what was found, what to do."""
    message = str(error)
    assert "\n" not in message
    for part in ("expected", "found", ";", *parts):
        assert part in message, f"{part!r} is not in {message!r}"


def assert_same_tokens(a: Encoded, b: Encoded) -> None:
    """Two tables' tokens, and what is known of the tables, to the types of the arrays."""
    for field in (field for field in fields(Encoded) if field.compare):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            assert np.array_equal(left, right)
        else:
            assert left == right
