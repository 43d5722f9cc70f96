"""What a checkpoint remembers of the training sets, however these are held."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_bert.data.corpus import Corpus
from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import Encoded
from mtl_bert.data.token_cache import GIBI, Cache
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.sampling import RoundRobin
from mtl_bert.training.datamodule import PlanDataModule
from tests.factories import TINY, make_table, make_task, random_texts


def digest_of(train: dict[str, Encoded]) -> str:
    types = dict.fromkeys(train, torch.float32)
    return PlanDataModule(RoundRobin(8), train, {}, types, epochs=1, seed=1).digest()


@pytest.mark.parametrize("labelled", [True, False])
def test_the_digest_is_of_the_tokens_their_places_and_the_labels(labelled: bool) -> None:
    tokenizer = TINY.tokenizer()
    texts = random_texts(tokenizer, 9, 2, longest=9)
    calls = [tokenizer(*row, truncation=True, max_length=12)["input_ids"] for row in texts]
    labels = [float(n) for n in range(9)] if labelled else None
    expected = hashlib.blake2b(digest_size=16)
    for task in ("a", "b"):
        expected.update(task.encode())
        expected.update(np.concatenate(calls).astype(np.uint16).tobytes())
        expected.update(np.cumsum([0, *map(len, calls)]).astype(np.int64).tobytes())
        expected.update(b"" if labels is None else np.array(labels, np.float64).tobytes())
    encoded = Tokenize(tokenizer, 12)(make_table(texts, labels))
    assert digest_of({"a": encoded, "b": encoded}) == expected.hexdigest()


def reviews(count: int, rng: np.random.Generator) -> list[tuple[tuple[str, ...], float]]:
    texts = random_texts(TINY.tokenizer(), count, 1, longest=9)
    return [(text, float(rng.integers(2))) for text in texts]


def test_the_digest_of_mapped_tokens(tmp_path: Path) -> None:
    task = make_task(sources={"demo": {"make": reviews, "train": 20, "dev": 5}})
    source, cache = Synthetic("demo", 1.0), Cache(tmp_path, GIBI)
    tokenize = Tokenize(TINY.tokenizer(), 12)
    held = tokenize(source.read(task, "train"))
    mapped = Corpus(source, [task], 0.0).tokens(tokenize, cache, ["train"])["train"][task.name]
    assert not mapped.tokens.flags.writeable
    assert digest_of({"a": mapped}) == digest_of({"a": held})
    assert digest_of({"a": mapped}) != digest_of({"b": mapped})
