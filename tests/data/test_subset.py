"""How much of each training set is kept, and which rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data import DataError
from mtl_bert.data.subset import EVERYTHING, Selection
from tests.factories import assert_tells

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
        (EVERYTHING, PAPER),
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
    assert_tells(raised.value, "data.imbalance", "several tasks", "sts alone")


def test_a_split_that_is_not_there_is_not_cut() -> None:
    assert Selection(share=0.5, limit=3, imbalance=10).rows({}) == {}
