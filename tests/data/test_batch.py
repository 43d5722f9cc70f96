"""Collating against the tokenizer's own padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.tokenize import Tokenize
from tests.factories import TINY, make_table, random_texts

LIMIT = 12
COUNT = 30
PAD = 0

TOKENIZER = TINY.tokenizer()
TEXTS = {columns: random_texts(TOKENIZER, COUNT, columns, longest=9) for columns in (1, 2)}
LABELS = [number / 8 for number in range(COUNT)]
ENCODED = {
    (columns, joint): Tokenize(TOKENIZER, LIMIT, joint)(make_table(texts, LABELS))
    for columns, texts in TEXTS.items()
    for joint in (True, False)
}

some_rows = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=12)  # repeats are allowed


def test_the_padding_of_the_tests_is_the_tokenizers():
    assert TOKENIZER.pad_token_id == PAD


@given(rows=some_rows, columns=st.sampled_from([1, 2]), joint=st.booleans())
def test_against_the_tokenizers_padding(rows, columns, joint):
    batch = Tokenized(ENCODED[columns, joint], torch.float32)[np.array(rows)]
    calls = [TEXTS[columns][row] for row in rows]
    if columns == 2 and not joint:
        calls = [(text,) for call in calls for text in call]
    expected = TOKENIZER(
        *(list(column) for column in zip(*calls, strict=True)),
        padding=True,
        truncation=True,
        max_length=LIMIT,
        return_tensors="pt",
    )
    assert torch.equal(batch.padded(batch.input_ids, PAD), expected["input_ids"])
    assert torch.equal(batch.padded(batch.token_type_ids, 0), expected["token_type_ids"])
    assert batch.mask.dtype == torch.bool
    assert torch.equal(batch.input_ids, expected["input_ids"][batch.mask])
    assert torch.equal(batch.input_ids[batch.cu_seqlens[:-1]], expected["input_ids"][:, 0])
    assert torch.equal(batch.mask.long(), expected["attention_mask"])
    assert torch.equal(batch.labels, torch.tensor([LABELS[row] for row in rows]))
    assert len(batch) == len(rows)
    assert batch.rows.tolist() == rows


@pytest.mark.parametrize("label_type", [torch.float32, torch.int64])
def test_labels_have_the_type_that_the_loss_expects(label_type):
    batch = Tokenized(ENCODED[1, True], label_type)[np.array([8, 0])]
    assert batch.labels.dtype == label_type
    assert batch.labels.tolist() == [1, 0]


def test_without_segments_and_labels():
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    encoded = Tokenize(plain, LIMIT)(make_table(TEXTS[1]))
    batch = Tokenized(encoded, torch.float32)[np.array([3, 1])]
    assert batch.token_type_ids is None
    assert batch.labels is None
    assert batch.to(torch.device("meta")).token_type_ids is None


def test_a_batch_changes_nothing_in_the_encoded_table():
    encoded = ENCODED[1, True]
    before = encoded.tokens.copy(), encoded.labels.copy()
    batch = Tokenized(encoded, torch.float64)[np.array([0, 1])]
    batch.input_ids.zero_()
    batch.labels.zero_()
    assert np.array_equal(encoded.tokens, before[0])
    assert np.array_equal(encoded.labels, before[1])


def tensors(batch: Batch):
    return [
        batch.input_ids,
        batch.mask,
        batch.token_type_ids,
        batch.cu_seqlens,
        batch.labels,
    ]


def test_a_data_set_of_tokens_makes_the_rows_of_a_batch_at_once():
    tokenized = Tokenized(ENCODED[2, False], torch.float32)
    assert len(tokenized) == len(ENCODED[2, False])
    several = Tokenized(ENCODED[2, False], torch.float32)[np.array([2, 0])]
    for ours, theirs in zip(tensors(tokenized.__getitems__([2, 0])), tensors(several), strict=True):
        assert torch.equal(ours, theirs)
    assert several.rows.tolist() == [2, 0]
    assert len(tokenized[1]) == 1


@pytest.mark.parametrize("kind", [(1, True), (2, True), (2, False)])
def test_some_examples_of_a_batch_are_what_the_table_gives_for_their_rows(kind):
    data = Tokenized(ENCODED[kind], torch.float32)
    some, expected = data[np.array([4, 1, 7, 2])].take(np.array([2, 0])), data[np.array([7, 4])]
    assert some.labels is None
    assert (some.rows.tolist(), some.lengths.tolist()) == ([7, 4], expected.lengths.tolist())
    for ours, theirs in zip(tensors(some)[:-1], tensors(expected)[:-1], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", [(1, True), (2, True), (2, False)])
def test_of_several_batches_each_text_is_there_once(kind):
    data, rows = Tokenized(ENCODED[kind], torch.float32), [[4, 1, 7], [1, 7, 2], [7], [4, 1, 7, 2]]
    batches = [data[np.array(of)] for of in rows]
    whole, places = Batch.once(batches, [np.array(of) * 10 for of in rows])
    assert whole.rows.tolist() == [4, 1, 7, 2]
    assert places[3] is None  # one by one
    for batch, at in zip(batches[:3], places, strict=False):
        sequences = whole.lengths[at].tolist()
        assert sequences == batch.lengths.tolist()
        starts = whole.cu_seqlens[at].tolist()
        found = [whole.input_ids[s : s + n] for s, n in zip(starts, sequences, strict=True)]
        assert torch.equal(torch.cat(found), batch.input_ids)


def test_to_moves_every_tensor():
    here = Tokenized(ENCODED[1, True], torch.int64)[np.array([0, 2])]
    there = here.to(torch.device("meta"))
    assert all(tensor.device.type == "meta" for tensor in tensors(there))
    assert [t.shape for t in tensors(there)] == [t.shape for t in tensors(here)]
    assert there.per_example == here.per_example
    assert all(tensor.device.type == "cpu" for tensor in tensors(here))
