"""All the tasks' tables together: bad rows are counted, reported and limited."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.corpus import SHOWN, Corpus, Selection
from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import DataError
from tests.factories import assert_tells, make_task

HEADER = "sentence\tlabel\n"
GOOD = "some text\t1\n"
BAD = "\t1\n"


def made(count, rng):
    return [((f"text {rng.integers(1000)}",), float(rng.integers(2))) for _ in range(count)]


DEMO = {"demo": {"make": made, "train": 100, "dev": 10}}


def files_of(name):
    columns = {"text": ["sentence"], "label": "label"}
    return {"files": {"train": f"{name}-train.tsv", "dev": f"{name}-dev.tsv", **columns}}


def sizes(tables):
    return {task: len(table) for task, table in tables.items()}


@pytest.fixture
def write(tmp_path):
    """Write a task's files; give back the task."""

    def write_task(name, train=GOOD, dev=GOOD):
        (tmp_path / f"{name}-train.tsv").write_text(HEADER + train)
        (tmp_path / f"{name}-dev.tsv").write_text(HEADER + dev)
        return make_task(name, sources=files_of(name))

    return write_task


@pytest.fixture
def source(tmp_path):
    return Delimited("files", str(tmp_path))


def test_every_split_of_every_task_is_read(write, source):
    tasks = [write("b", train=3 * GOOD), write("a", train=5 * GOOD, dev=2 * GOOD)]
    corpus = Corpus(source, tasks, 0)
    assert corpus.name == "files"
    assert not corpus.synthetic
    assert list(sizes(corpus.read("train")).items()) == [("b", 3), ("a", 5)]  # in the tasks' order
    assert sizes(corpus.read("dev")) == {"b": 1, "a": 2}


def test_evaluation_reads_dev_alone(write, source, tmp_path):
    task = write("a", dev=2 * GOOD)
    (tmp_path / "a-train.tsv").unlink()
    assert sizes(Corpus(source, [task], 0).read("dev")) == {"a": 2}


def test_bad_rows_are_counted_reported_and_skipped(write, source, caplog):
    task = write("a", train=16 * GOOD + 4 * BAD)
    with caplog.at_level(logging.WARNING):
        train = Corpus(source, [task], 0.2).read("train")
    assert sizes(train) == {"a": 16}
    assert len(train["a"].skipped) == 4
    (message,) = [record.getMessage() for record in caplog.records]
    assert "a-train.tsv: 4 of 20 rows cannot be used" in message
    for line in range(18, 18 + SHOWN):
        assert f"line {line}: sentence is missing" in message
    assert f"line {18 + SHOWN}" not in message
    assert "…" in message


def test_good_files_are_not_talked_about(write, source, caplog):
    Corpus(source, [write("a")], 0).read("train")
    assert caplog.records == []


@pytest.mark.parametrize("split", ["train", "dev"])
def test_too_many_bad_rows_stop(write, source, split):
    task = write("a", **{split: 15 * GOOD + 5 * BAD})
    with pytest.raises(DataError) as raised:
        Corpus(source, [task], 0.2).read(split)
    message = str(raised.value)
    assert "\n" not in message
    for part in (f"a-{split}.tsv", "5 of 20", "line 17", "at most 20.00%", "mend the file"):
        assert part in message


def test_the_share_that_the_message_proposes_is_enough(write, source):
    task = write("a", train=2 * GOOD + BAD)
    with pytest.raises(DataError) as raised:
        Corpus(source, [task], 0.01).read("train")
    proposed = str(raised.value).split("data.max_bad_share=")[1]
    assert sizes(Corpus(source, [task], float(proposed)).read("train")) == {"a": 2}


def test_a_task_with_files_of_its_own_beside_another_source(tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text('sentence,label\n"one, two",1\nthree,0\n')
    monkeypatch.chdir(tmp_path)
    own = {"train": "new.csv", "dev": "new.csv", "text": ["sentence"], "label": "label"}
    tasks = [make_task("old", sources=DEMO), make_task("new", sources={"csv": own})]
    corpus = Corpus(Synthetic("demo", 0.5), tasks, 0)
    assert sizes(corpus.read("train")) == {"old": 50, "new": 2}
    assert corpus.read("dev")["new"].texts[0] == ("one, two",)
    assert corpus.name == "demo+csv"
    assert corpus.synthetic  # because some of it is


def test_a_source_that_no_task_uses_makes_nothing_synthetic(tmp_path):
    (tmp_path / "new.csv").write_text("sentence,label\none,1\n")
    file = str(tmp_path / "new.csv")
    own = {"train": file, "dev": file, "text": ["sentence"], "label": "label"}
    corpus = Corpus(Synthetic("demo", 1), [make_task(sources={"csv": own})], 0)
    assert not corpus.synthetic
    assert corpus.name == "csv"


def test_the_runs_source_goes_before_a_tasks_own_files():
    task = make_task(sources={"csv": {}, **DEMO})
    assert Corpus(Synthetic("demo", 1), [task], 0).name == "demo"


@pytest.mark.parametrize("sources", [{}, {"other": {}}])
def test_a_task_without_a_source_is_an_error(sources):
    with pytest.raises(DataError) as raised:
        Corpus(Synthetic("demo", 1), [make_task("mine", sources=sources)], 0)
    found = "other" if sources else "no sources"
    assert_tells(raised.value, "mine", "sources.demo", "sources.files", found)


def test_missing_sources_are_found_before_anything_is_read(write, source, tmp_path):
    with_files = write("a")
    (tmp_path / "a-train.tsv").unlink()
    with pytest.raises(DataError, match=r"sources\.files or sources\.csv"):
        Corpus(source, [with_files, make_task("b")], 0)


def numbered(count):
    return "".join(f"text {number}\t{number % 2}\n" for number in range(count))


def test_a_share_of_every_training_set(write, source):
    tasks = [write("a", train=numbered(40), dev=numbered(8)), write("b", train=numbered(3))]
    whole = Corpus(source, tasks, 0).read("train")
    some = Selection(share=0.25).of(whole)
    assert sizes(some) == {"a": 10, "b": 1}
    kept = [whole["a"].texts.index(texts) for texts in some["a"].texts]
    assert kept == sorted(set(kept))  # in the file's order, none twice
    assert kept != list(range(10))  # drawn, not cut off
    assert some["a"].labels.tolist() == [number % 2 for number in kept]
    assert some["a"].ids == tuple(whole["a"].ids[number] for number in kept)


def test_the_share_is_drawn_by_its_seed(write, source):
    task = write("a", train=numbered(40))
    whole = Corpus(source, [task], 0).read("train")
    draws = [Selection(share=0.5, seed=seed).of(whole)["a"] for seed in (0, 0, 1)]
    assert draws[0].texts == draws[1].texts
    assert draws[0].texts != draws[2].texts


# How much of each training set is kept, and which rows.

PAPER = {"sts": 6040, "sst": 8544, "qqp": 283010}

SIZES = st.dictionaries(
    st.sampled_from("abcd"), st.integers(1, 60), min_size=1
)  # fmt: skip
SEVERAL = SIZES.filter(lambda sizes: len(sizes) > 1)
SELECTIONS = st.builds(
    Selection,
    share=st.floats(0.01, 1),
    limit=st.none() | st.integers(1, 60),
    seed=st.integers(0, 5),
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), PAPER),
        (Selection(share=0.1), {"sts": 604, "sst": 854, "qqp": 28301}),
        (Selection(limit=7000), {"sts": 6040, "sst": 7000, "qqp": 7000}),
        (Selection(limit={"qqp": 52191}), {**PAPER, "qqp": 52191}),
        (Selection(share=0.5, limit=4000), {"sts": 3020, "sst": 4000, "qqp": 4000}),
        (Selection(imbalance=100), {"sts": 2830, "sst": 2830, "qqp": 283010}),
        (Selection(limit=5000, imbalance=1), {"sts": 5000, "sst": 5000, "qqp": 5000}),
        # The largest stays the one that is largest without the limit, wherever it stands.
        (Selection(limit=5000, imbalance=10), {"sts": 500, "sst": 500, "qqp": 5000}),
        (Selection(limit=5000, imbalance=1e9), {"sts": 1, "sst": 1, "qqp": 5000}),
    ],
)
def test_what_is_kept(selection: Selection, expected: dict[str, int]) -> None:
    assert selection.counts(PAPER) == expected


@given(SIZES, SELECTIONS)
def test_rows_are_as_many_different_ascending_ones(
    sizes: dict[str, int], selection: Selection
) -> None:
    counts, rows = selection.counts(sizes), selection.rows(sizes)
    assert list(counts) == list(sizes)
    assert set(rows) == {task for task in sizes if counts[task] < sizes[task]}
    for task, kept in rows.items():
        assert len(kept) == counts[task] >= 1
        assert (np.diff(kept) > 0).all()
        assert 0 <= kept[0] <= kept[-1] < sizes[task]


@given(SEVERAL, SELECTIONS, st.floats(1, 100), st.floats(1, 100))
def test_less_is_part_of_more(
    sizes: dict[str, int], selection: Selection, first: float, second: float
) -> None:
    least = min(selection.counts(sizes).values())
    kept = []
    for imbalance in sorted((first, second)):
        balanced = Selection(selection.share, least, imbalance, selection.seed)
        assert balanced.counts(sizes)[max(sizes, key=lambda task: sizes[task])] == least
        rows = balanced.rows(sizes)
        kept.append({t: set(rows.get(t, np.arange(n)).tolist()) for t, n in sizes.items()})
    for task in sizes:
        assert kept[1][task] <= kept[0][task]


@given(SEVERAL, SELECTIONS, st.floats(1, 100))
def test_the_ratio_is_what_was_asked_or_the_advice_makes_it_so(
    sizes: dict[str, int], selection: Selection, imbalance: float
) -> None:
    asked = Selection(selection.share, selection.limit, imbalance, selection.seed)
    try:
        counts = asked.counts(sizes)
    except DataError as error:
        limit = int(str(error).partition("data.limit=")[2].partition(" ")[0])
        counts = Selection(selection.share, limit, imbalance, selection.seed).counts(sizes)
    largest = max(sizes, key=lambda task: sizes[task])
    others = {count for task, count in counts.items() if task != largest}
    assert others == {max(1, round(counts[largest] / imbalance))}


def test_tasks_are_drawn_apart() -> None:
    rows = Selection(share=0.5).rows({"a": 100, "b": 100})
    assert rows["a"].tolist() != rows["b"].tolist()


def test_too_few_for_the_ratio() -> None:
    with pytest.raises(DataError) as raised:
        Selection(imbalance=10).counts(PAPER)
    assert_tells(raised.value, "28,301", "sts", "6,040", "qqp", "data.limit=60400")


def test_a_limit_for_a_task_that_there_is_not() -> None:
    with pytest.raises(DataError) as raised:
        Selection(limit={"cola": 5}).counts(PAPER)
    assert_tells(raised.value, "data.limit", "cola", "sts, sst, qqp")


def test_one_task_has_no_ratio() -> None:
    with pytest.raises(DataError) as raised:
        Selection(imbalance=10).counts({"sts": 6040})
    assert_tells(raised.value, "data.imbalance", "several tasks", "found sts")
