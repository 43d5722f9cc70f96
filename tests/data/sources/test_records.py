"""The rules for rows, whatever they come from."""

import numpy as np
import pytest

from mtl_bert.data.sources.records import Place, Record, Records, Source, said
from mtl_bert.data.table import DataError, Table
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.tasks import MultiClass, Regression
from tests.factories import TINY, assert_same_tokens, assert_tells, make_task

SINGLE = Place(text=["text"], label="label", id="id")


class Opened(Source):
    """A source of given records."""

    def __init__(self, records):
        self.records = records

    def open(self, task, split, *, labelled):
        return self.records


def record(**fields):
    return {"id": "a", "text": "some text", "label": "1", **fields}


def build(*records, task=None, columns=SINGLE, labelled=True, first_fault=""):
    placed = [
        Record(f"row {number}", fields, "" if number else first_fault)
        for number, fields in enumerate(records)
    ]
    return Opened(Records(columns, placed, "somewhere", list)).read(
        task or make_task(), "train" if labelled else "test"
    )


def test_usable_rows_are_kept_in_order():
    table = build(record(id="b"), record(id="a", label="0", text="  spaced \n"))
    assert table.origin == "somewhere"
    assert table.ids == ("b", "a")
    assert table.texts == (("some text",), ("spaced",))
    assert table.labels.dtype == np.float64
    assert table.labels.tolist() == [1.0, 0.0]
    assert table.skipped == ()
    assert len(table) == 2


@pytest.mark.parametrize("label", ["True", "1", "1.0", " 1 ", 1, 1.0, "1e0"])
def test_labels_are_read_as_numbers(label):
    assert build(record(label=label)).labels.tolist() == [1.0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": None}, "text is missing"),
        ({"text": " \t"}, "text is missing"),
        ({"label": ""}, "label is missing"),
        ({"label": None}, "label is missing"),
        ({"id": ""}, "id is missing"),
        ({"label": "maybe"}, "label 'maybe' is not a number or one of no, yes"),
        ({"label": "nan"}, "label 'nan' is not a number or one of no, yes"),
        ({"label": "-inf"}, "label '-inf' is not a number or one of no, yes"),
        ({"label": "1_0"}, "label '1_0' is not a number or one of no, yes"),
        ({"label": "\uff11"}, "label '\uff11' is not a number or one of no, yes"),
        ({"label": "1 0"}, "label '1 0' is not a number or one of no, yes"),
        ({"label": "1e999"}, "label inf is not 0 or 1"),
        ({"label": "0.5"}, "label 0.5 is not 0 or 1"),
        ({"label": "-1"}, "label -1 is not 0 or 1"),
    ],
)
def test_a_bad_row_is_skipped_with_its_place_and_reason(fields, reason):
    table = build(record(), record(**fields), record())
    assert len(table) == 2
    assert [str(row) for row in table.skipped] == [f"row 1: {reason}"]


def test_a_source_may_give_the_reason_itself():
    table = build(record(), record(id="b"), first_fault="expected 3 fields, found 2")
    assert table.ids == ("b",)
    assert [str(row) for row in table.skipped] == ["row 0: expected 3 fields, found 2"]


def test_a_long_label_is_cut_in_the_message():
    table = build(record(label="x" * 1000), record())
    assert len(table.skipped[0]) < 90


def test_pairs_need_both_texts():
    task, columns = make_task(pair=True), Place(text=["a", "b"], label="label")
    rows = [{"a": "one", "b": "two", "label": 1}, {"a": "one", "b": "", "label": 1}]
    table = build(*rows, task=task, columns=columns)
    assert table.texts == (("one", "two"),)
    assert [str(row) for row in table.skipped] == ["row 1: b is missing"]


def test_without_an_id_column_rows_are_called_by_their_place():
    table = build(record(), columns=Place(text=["text"], label="label"))
    assert table.ids == ("row 0",)


def test_an_unlabelled_split_reads_no_label():
    table = build({"id": "a", "text": "some text"}, labelled=False)
    assert table.labels is None
    assert len(table) == 1


@pytest.mark.parametrize(
    ("head", "label", "kept"),
    [
        (MultiClass(["a", "b", "c"]), "2.0", True),
        (MultiClass(["a", "b", "c"]), "3", False),
        (Regression(0, 5), "4.75", True),
        (Regression(0, 5), "5.01", False),
    ],
)
def test_the_head_says_what_a_label_may_be(head, label, kept):
    table = build(record(label="0"), record(label=label), task=make_task(head=head))
    assert len(table) == 1 + kept


def test_no_usable_row_is_an_error_with_an_example():
    with pytest.raises(DataError) as raised:
        build(record(label="maybe"), record(label=""))
    assert_tells(raised.value, "somewhere", "toy", "found 2", "row 0: label 'maybe'")
    with pytest.raises(DataError) as raised:
        build()
    assert_tells(raised.value, "found 0")


def test_missing_columns_are_named_with_those_that_are_there():
    with pytest.raises(DataError) as raised:
        SINGLE.check(make_task(), ["", "id", "sentence"], "a.tsv", labelled=True)
    assert_tells(raised.value, "a.tsv", "id, text, label", "'', 'id', 'sentence'", "text, label")


def test_an_unlabelled_split_needs_no_label_column():
    SINGLE.check(make_task(), ["id", "text"], "a.tsv", labelled=False)
    with pytest.raises(DataError, match="add label"):
        SINGLE.check(make_task(), ["id", "text"], "a.tsv", labelled=True)


@pytest.mark.parametrize(("pair", "text"), [(True, ["a"]), (False, ["a", "b"])])
def test_text_columns_have_to_fit_the_task(pair, text):
    place = Place(text=text, label="label")
    with pytest.raises(DataError) as raised:
        place.check(make_task(pair=pair), ["a", "b"], "a.tsv", labelled=False)
    assert_tells(raised.value, "toy", repr(text))


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ({"text": ["a"]}, ["label", "none"]),
        ({"text": ["a"], "label": "b", "lable": "b"}, ["lable", "train, dev, test"]),
        ({}, ["text", "none"]),
        ({"text": "ab", "label": "b"}, ["text", "a list", "'ab'"]),
        ({"text": ["a"], "label": None}, ["label", "None"]),
    ],
)
def test_a_task_file_with_wrong_columns_is_an_error_for_users(source, parts):
    with pytest.raises(DataError) as raised:
        said(Place, make_task(sources={"files": source}), "files")
    assert_tells(raised.value, "task toy: sources.files.", *parts)


def test_columns_without_a_header_are_called_by_numbers():
    place = said(Place, make_task(sources={"files": {"text": [2], "label": 1, "id": 0}}), "files")
    assert (place.text, place.label, place.id) == (["2"], "1", "0")


def test_parts_make_the_whole_and_tokens_of_parts_those_of_the_whole(monkeypatch):
    """Whatever rows a part ends with: used, skipped, or none at all."""
    records = [
        Record(f"row {n}", record(text="" if n % 4 == 3 else f"some text {n}", label=str(n % 2)))
        for n in range(24)
    ]
    source = Opened(Records(SINGLE, records, "somewhere", list))
    whole = source.read(make_task(), "train")
    tokenize = Tokenize(TINY.tokenizer(), 32)
    for size in (1, 5, 6, 17, 18, 19):
        monkeypatch.setattr("mtl_bert.data.sources.records.BLOCK", size)
        parts = list(source.blocks(make_task(), "train"))
        assert max(map(len, parts)) == min(size, 18)
        joined = Table.joined(parts)
        for name in ("origin", "ids", "texts", "skipped", "incomplete"):
            assert getattr(joined, name) == getattr(whole, name)
        assert joined.labels.tolist() == whole.labels.tolist()
        assert_same_tokens(tokenize.blocks(parts, 18), tokenize(whole))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (["a", "film"], "text is a list, not a text"),
        ({"de": "Film"}, "text is a dict, not a text"),
        ("\ud83d cut in half", "text has half a character in it"),
        ("a\0b", "text has a NUL byte in it"),
    ],
)
def test_what_is_no_text_is_reported_and_not_trained_on(text, reason):
    table = build(record(), record(text=text))
    assert table.texts == (("some text",),)
    assert table.skipped == (f"row 1: {reason}",)
    rows = Opened(Records(SINGLE, [Record("row 1", record(text=text))], "somewhere", list))
    (kept,) = rows.read(make_task(), "test", whole=False).texts
    kept[0].encode()


def test_where_some_names_are_numbers_other_numbers_are_none_of_them():
    task = make_task(head=MultiClass(["1", "2", "n/a"]))
    labels = ["2.0", "n/a", "0"]
    table = build(*(record(label=label) for label in labels), task=task)
    assert table.labels.tolist() == [1, 2]
    assert table.skipped == ("row 2: label 0 is none of 1, 2, n/a",)
