"""Collating against the tokenizer's own padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.batch import Batch, Share, collate, collate_step
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.sampling.epoch import Phase, Step
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
    batch = collate(ENCODED[columns, joint], np.array(rows), torch.float32, PAD)
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
    batch = collate(ENCODED[1, True], np.array([8, 0]), label_type, PAD)
    assert batch.labels.dtype == label_type
    assert batch.labels.tolist() == [1, 0]


def test_the_padding_token_is_the_encoders():
    batch = collate(ENCODED[1, True], np.arange(COUNT), torch.float32, 77)
    assert batch.pad_token_id == 77
    assert not batch.mask.all()
    assert (batch.padded(batch.input_ids, 77)[~batch.mask] == 77).all()


def test_without_segments_and_labels():
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    encoded = Tokenize(plain, LIMIT)(make_table(TEXTS[1]))
    batch = collate(encoded, np.array([3, 1]), torch.float32, PAD)
    assert batch.token_type_ids is None
    assert batch.labels is None
    assert batch.to(torch.device("meta")).token_type_ids is None


def test_a_batch_changes_nothing_in_the_encoded_table():
    encoded = ENCODED[1, True]
    before = encoded.tokens.copy(), encoded.labels.copy()
    batch = collate(encoded, np.array([0, 1]), torch.float64, PAD)
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
        batch.rows,
    ]


def test_a_step_has_a_batch_for_each_represented_task():
    phase = Phase("some", frozen=("encoder.*",))
    step = Step(phase, {"a": np.array([2, 5]), "b": np.array([1])})
    encoded = {"a": ENCODED[1, True], "b": ENCODED[2, False], "c": ENCODED[1, True]}
    types = {"a": torch.int64, "b": torch.float32, "c": torch.float32}
    made = collate_step(3, 7, step, encoded, types, PAD, Share())
    assert (made.epoch, made.number, made.phase) == (3, 7, phase)
    assert list(made.tasks) == ["a", "b"]
    assert [[len(batch) for batch in parts] for parts in made.tasks.values()] == [[2], [1]]
    assert made.tasks["b"][0].per_example == 2
    assert made.tasks["a"][0].labels.dtype == torch.int64
    alone = collate(encoded["b"], np.array([1]), torch.float32, PAD)
    assert torch.equal(made.tasks["b"][0].input_ids, alone.input_ids)


def test_to_moves_every_tensor_of_every_task():
    step = Step(Phase("some"), {"a": np.array([2, 5]), "b": np.array([1])})
    encoded = {"a": ENCODED[1, True], "b": ENCODED[2, False]}
    types = {"a": torch.int64, "b": torch.float32}
    here = collate_step(1, 0, step, encoded, types, PAD, Share())
    there = here.to(torch.device("meta"))
    for task, (batch,) in there.tasks.items():
        assert all(tensor.device.type == "meta" for tensor in tensors(batch))
        assert [t.shape for t in tensors(batch)] == [t.shape for t in tensors(here.tasks[task][0])]
        assert batch.per_example == here.tasks[task][0].per_example
    assert all(tensor.device.type == "cpu" for tensor in tensors(here.tasks["a"][0]))


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("parts", [1, 2, 8])
@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_the_shares_of_all_processes_are_the_rows(processes: int, parts: int, n: int):
    rows = np.arange(n)[::-1]
    shares = [Share(process, processes, parts).of(rows) for process in range(processes)]
    assert [row for share in shares for part in share for row in part] == rows.tolist()
    assert all(len(share) <= parts and all(map(len, share)) for share in shares)
    sizes = [sum(map(len, share)) for share in shares]
    assert max(sizes) - min(sizes) <= 1
