"""Encoding against a plain call of the tokenizer for every row."""

import numpy as np
import pytest

import mtl_bert.data.encode
from mtl_bert.data.encode import encode
from tests.factories import TINY, make_table, random_texts

LIMIT = 12


@pytest.fixture(scope="module")
def tokenizer():
    return TINY.tokenizer()


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    """Chunks of which a small table has several, and a last one that is not full."""
    monkeypatch.setattr(mtl_bert.data.encode, "CHUNK", 7)


def sequences_of(encoded, flat):
    return [
        flat[begin:end].tolist()
        for begin, end in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize(
    ("columns", "joint", "per_example"), [(1, True, 1), (1, False, 1), (2, True, 1), (2, False, 2)]
)
def test_against_one_call_for_each_row(tokenizer, columns, joint, per_example):
    texts = random_texts(tokenizer, 45, columns, longest=9)
    encoded = encode(make_table(texts, range(45)), tokenizer, LIMIT, joint=joint)

    calls = texts if joint or columns == 1 else [(text,) for row in texts for text in row]
    rows = [tokenizer(*call, truncation=True, max_length=LIMIT) for call in calls]
    whole = [len(tokenizer(*call)["input_ids"]) for call in calls]

    assert sequences_of(encoded, encoded.tokens) == [row["input_ids"] for row in rows]
    assert sequences_of(encoded, encoded.types) == [row["token_type_ids"] for row in rows]
    assert encoded.per_example == per_example
    assert len(encoded) == 45
    assert encoded.labels.tolist() == list(range(45))
    assert encoded.truncated == sum(length > LIMIT for length in whole)
    if columns == 2 and joint:
        assert 0 < encoded.truncated < 45  # the comparison covers both kinds
    lengths = [len(row["input_ids"]) for row in rows]
    assert encoded.lengths.tolist() == np.reshape(lengths, (45, per_example)).sum(1).tolist()


def test_the_arrays_are_small_and_consistent(tokenizer):
    encoded = encode(make_table(random_texts(tokenizer, 20, 2, 9)), tokenizer, LIMIT, joint=True)
    assert encoded.tokens.dtype == np.int32
    assert encoded.types.dtype == np.uint8
    assert encoded.offsets.dtype == np.int64
    assert encoded.offsets[0] == 0
    assert encoded.offsets[-1] == len(encoded.tokens) == len(encoded.types)
    assert encoded.labels is None


def test_the_longer_text_of_a_pair_is_cut(tokenizer):
    ((long,),) = random_texts(tokenizer, 1, 1, longest=1)
    row = (" ".join([long] * 30), long)
    encoded = encode(make_table([row]), tokenizer, LIMIT, joint=True)
    assert encoded.truncated == 1
    assert len(encoded.tokens) == LIMIT
    kept = len(tokenizer(long)["input_ids"]) - 1  # the short text whole, with its [SEP]
    assert encoded.types.tolist() == [0] * (LIMIT - kept) + [1] * kept


def test_texts_alone_are_cut_and_counted_each(tokenizer):
    ((long,),) = random_texts(tokenizer, 1, 1, longest=1)
    row = (" ".join([long] * 30), " ".join([long] * 40))
    encoded = encode(make_table([row, (long, long)]), tokenizer, LIMIT, joint=False)
    assert encoded.truncated == 2
    assert len(encoded) == 2


def test_an_encoder_that_knows_no_segments(tokenizer):
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    table = make_table(random_texts(tokenizer, 5, 2, 4))
    encoded = encode(table, plain, LIMIT, joint=True)
    assert encoded.types is None
    with_types = encode(table, tokenizer, LIMIT, joint=True)
    assert encoded.tokens.tolist() == with_types.tokens.tolist()


def test_words_that_the_vocabulary_lacks(tokenizer):
    table = make_table([("𓀀",), ("日本",), ("🙂" * 5,)])
    encoded = encode(table, tokenizer, LIMIT, joint=True)
    assert len(encoded) == 3
    assert tokenizer.unk_token_id in encoded.tokens
