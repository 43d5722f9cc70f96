"""Encoding against a plain call of the tokenizer for every row."""

import os
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import ByteLevel
from tqdm import tqdm
from transformers import BertTokenizer, PreTrainedTokenizer, RobertaTokenizer

import mtl_bert.data.tokenize
from mtl_bert.data.tokenize import Tokenize
from tests.factories import TINY, assert_same_tokens, make_table, random_texts

LIMIT = 12


@pytest.fixture(scope="module")
def tokenizer():
    return TINY.tokenizer()


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    """Chunks of which a small table has several, and a last one that is not full."""
    monkeypatch.setattr(mtl_bert.data.tokenize, "CHUNK", 7)


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
    encoded = Tokenize(tokenizer, LIMIT, joint)(make_table(texts, range(45)))

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
    encoded = Tokenize(tokenizer, LIMIT)(make_table(random_texts(tokenizer, 20, 2, 9)))
    assert encoded.tokens.dtype == np.uint16
    assert encoded.types.dtype == np.uint8
    assert encoded.offsets.dtype == np.int64
    assert encoded.offsets[0] == 0
    assert encoded.offsets[-1] == len(encoded.tokens) == len(encoded.types)
    assert encoded.labels is None


def test_the_longer_text_of_a_pair_is_cut(tokenizer):
    ((long,),) = random_texts(tokenizer, 1, 1, longest=1)
    row = (" ".join([long] * 30), long)
    encoded = Tokenize(tokenizer, LIMIT)(make_table([row]))
    assert encoded.truncated == 1
    assert len(encoded.tokens) == LIMIT
    kept = len(tokenizer(long)["input_ids"]) - 1  # the short text whole, with its [SEP]
    assert encoded.types.tolist() == [0] * (LIMIT - kept) + [1] * kept


def test_texts_alone_are_cut_and_counted_each(tokenizer):
    ((long,),) = random_texts(tokenizer, 1, 1, longest=1)
    row = (" ".join([long] * 30), " ".join([long] * 40))
    encoded = Tokenize(tokenizer, LIMIT, False)(make_table([row, (long, long)]))
    assert encoded.truncated == 2
    assert len(encoded) == 2


def test_an_encoder_that_knows_no_segments(tokenizer):
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    table = make_table(random_texts(tokenizer, 5, 2, 4))
    encoded = Tokenize(plain, LIMIT)(table)
    assert encoded.types is None
    with_types = Tokenize(tokenizer, LIMIT)(table)
    assert encoded.tokens.tolist() == with_types.tokens.tolist()


def test_words_that_the_vocabulary_lacks(tokenizer):
    table = make_table([("𓀀",), ("日本",), ("🙂" * 5,)])
    encoded = Tokenize(tokenizer, LIMIT)(table)
    assert len(encoded) == 3
    assert tokenizer.unk_token_id in encoded.tokens


class Own(BertTokenizer):
    """A tokenizer that does something of its own with every call."""

    def _encode_plus(self, *args, **kwargs):
        return super()._encode_plus(*args, **kwargs)


@pytest.mark.parametrize(("columns", "joint"), [(1, True), (2, True), (2, False)])
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_backend_alone_gives_what_the_tokenizer_gives(columns, joint, side, monkeypatch):
    """Whichever way a tokenizer was used before."""
    table = make_table(random_texts(TINY.tokenizer(), 40, columns, longest=12))
    fast, own = TINY.tokenizer(), Own(vocab=TINY.tokenizer().get_vocab())
    fast("something else", padding="max_length", max_length=5, truncation=True)
    for tokenizer in (fast, own):
        tokenizer.truncation_side = side
    asked = []
    monkeypatch.setattr(
        Own,
        "__call__",
        lambda self, *a, **k: asked.append(a) or BertTokenizer.__call__(self, *a, **k),
    )
    ours, theirs = (Tokenize(t, LIMIT, joint)(table) for t in (fast, own))
    assert len(asked) == 2 * (len(ours.cut) // 7 + 1)  # each chunk whole and cut, as it likes
    for field in fields(ours):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
    assert 0 < ours.truncated < len(ours.cut)


def test_a_vocabulary_that_16_bits_do_not_number():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    for last, expected in ((2**16 - 1, np.uint16), (2**16, np.int32)):
        tokenizer = BertTokenizer(vocab={**vocabulary, "word": last})
        encoded = Tokenize(tokenizer, LIMIT)(make_table([("word",), ("word word",)]))
        assert encoded.tokens.dtype == expected
        assert encoded.tokens.tolist() == [2, last, 3, 2, last, last, 3]


def test_words_of_bytes():
    """Another kind of tokenizer, which knows no segments either."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "Ġa": 6}
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[])
    rows = [("a a", "a"), ("a", "a a a a a a a a")]
    encoded = Tokenize(tokenizer, LIMIT)(make_table(rows))
    calls = [tokenizer(*row, truncation=True, max_length=LIMIT)["input_ids"] for row in rows]
    assert sequences_of(encoded, encoded.tokens) == calls
    assert encoded.truncated == 1


def test_no_text_is_a_mark_where_the_tokenizer_has_none_of_its_own():
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "Ġa": 6}
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[])
    tokenizer.backend_tokenizer.post_processor = ByteLevel()
    encoded = Tokenize(tokenizer, LIMIT)(make_table([("a a",), ("",)]))
    assert sequences_of(encoded, encoded.tokens) == [[5, 5], [2]]


@settings(deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=9),
    columns=st.sampled_from([1, 2]),
    limit=st.integers(6, 24),
    side=st.sampled_from(["left", "right"]),
    words_of_bytes=st.booleans(),
)
def test_what_is_cut_is_what_the_tokenizer_would_cut(lengths, columns, limit, side, words_of_bytes):
    tokenizer = TINY.tokenizer()
    words = [text.split()[0] for (text,) in random_texts(tokenizer, 40, 1, longest=1)]
    if words_of_bytes:
        vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "Ġa": 6}
        tokenizer, words = RobertaTokenizer(vocab=vocabulary, merges=[]), ["a"] * 40
    tokenizer.truncation_side = side
    rows = [tuple(" ".join(words[:n]) for n in pair[:columns]) for pair in lengths]
    encoded = Tokenize(tokenizer, limit)(make_table(rows))
    how = {"truncation": "longest_first", "max_length": limit}
    assert sequences_of(encoded, encoded.tokens) == [
        tokenizer(*row, **how)["input_ids"] for row in rows
    ]


class InPython(PreTrainedTokenizer):
    """A tokenizer without the tokenizers library: a number for each letter."""

    vocab_size = 300

    def get_vocab(self):
        return {chr(number): number for number in range(300)}

    def _tokenize(self, text):
        return list(text)

    def _convert_token_to_id(self, token):
        return ord(token) if len(token) == 1 else 299

    def _convert_id_to_token(self, index):
        return chr(index)


def test_a_tokenizer_in_python():
    tokenizer = InPython(pad_token="p")
    rows = [("a" * 30, "b" * 5), ("a", "b"), ("a" * 20, "b" * 30)]
    encoded = Tokenize(tokenizer, LIMIT)(make_table(rows))
    how = {"truncation": "longest_first", "max_length": LIMIT}
    assert sequences_of(encoded, encoded.tokens) == [
        tokenizer(*row, **how)["input_ids"] for row in rows
    ]
    assert encoded.cut.tolist() == [True, False, True]


def peak():
    """The most memory that this process had since the last call, in MiB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak")
@pytest.mark.parametrize("joint", [True, False])
def test_memory_grows_with_the_length_of_a_pair_and_not_with_its_square(tokenizer, joint):
    """25 KB each took 1.5 GiB, a megabyte each more than there is."""
    ((word,),) = random_texts(tokenizer, 1, 1, longest=1)
    rows = [(f"{word} " * (200_000 // len(word)), f"{word} " * (300_000 // len(word)))]
    Tokenize(tokenizer, LIMIT, joint)(make_table([(word, word)]))
    peak()
    before = peak()
    encoded = Tokenize(tokenizer, LIMIT, joint)(make_table(rows))
    assert peak() - before < 200
    assert encoded.cut.all()
    assert encoded.lengths.tolist() == [LIMIT if joint else 2 * LIMIT]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("side", ["right", "left"])
def test_of_an_enormous_text_only_a_part_is_read(monkeypatch, columns, side):
    monkeypatch.setattr(mtl_bert.data.tokenize, "LETTERS", 8)
    tokenizer = TINY.tokenizer()
    tokenizer.truncation_side = side
    texts = random_texts(tokenizer, 20, columns, longest=400)
    asked = []
    encode = Tokenize._encode
    monkeypatch.setattr(
        Tokenize,
        "_encode",
        lambda self, chunk: (
            asked.extend(len(t) for row in chunk for t in row) or encode(self, chunk)
        ),
    )
    limit = LIMIT + 1  # each of two texts gets the same, whichever is longer
    encoded = Tokenize(tokenizer, limit)(make_table(texts))
    calls = [tokenizer(*row, truncation=True, max_length=limit)["input_ids"] for row in texts]
    assert sequences_of(encoded, encoded.tokens) == calls
    assert max(map(len, texts[0])) > 400 > 2 * 8 * limit >= max(asked)


def test_a_word_without_an_end(tokenizer):
    ((word,),) = random_texts(tokenizer, 1, 1, longest=1)
    encoded = Tokenize(tokenizer, LIMIT)(make_table([("x" * 3_000_000 + f" {word}",)]))
    unknown = tokenizer.unk_token_id
    kept = tokenizer(word)["input_ids"]
    assert encoded.tokens.tolist() == [kept[0], unknown, *kept[1:]]


@settings(deadline=None)
@given(
    rows=st.sets(st.integers(0, 29), min_size=1).map(sorted),
    columns=st.sampled_from([1, 2]),
    joint=st.booleans(),
    labelled=st.booleans(),
)
def test_some_rows_are_as_if_there_were_no_others(rows, columns, joint, labelled):
    tokenizer = TINY.tokenizer()
    texts = random_texts(tokenizer, 30, columns, longest=9)
    whole = Tokenize(tokenizer, LIMIT, joint)(make_table(texts, range(30) if labelled else None))
    some = make_table([texts[row] for row in rows], rows if labelled else None)
    expected, taken = Tokenize(tokenizer, LIMIT, joint)(some), whole.take(np.array(rows))
    assert_same_tokens(taken, expected)


def test_the_bar_counts_the_texts(tokenizer, capsys, monkeypatch):
    monkeypatch.setattr(mtl_bert.data.tokenize, "tqdm", partial(tqdm, mininterval=0, miniters=1))
    table = make_table(random_texts(tokenizer, 45, 2, longest=9))
    for bar, joint, total in (
        (True, True, "45.0/45.0"),
        (True, False, "45.0/45.0"),
        (False, True, ""),
    ):
        Tokenize(tokenizer, LIMIT, joint, bar)(table)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("somewhere" in err) == bar
        assert total in err
