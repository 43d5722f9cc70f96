"""Tasks whose examples are labels of the same texts are found, by what the texts say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.table import Table
from mtl_bert.data.text_numbers import same_texts
from mtl_bert.tasks import Task
from tests.factories import make_table, make_task


def table(*texts: str) -> Table:
    return make_table([(text,) for text in texts])


def many(*numbers: int) -> Table:
    return table(*(f"text {n}" for n in numbers))


TASKS = [make_task(name) for name in ("a", "b", "c", "d")]


def groups(tasks: list[Task] = TASKS, **parts: Table) -> list[list[str]]:
    tasks = [task for task in tasks if task.name in parts]
    return [list(group) for group in same_texts(tasks, parts)]


WORDS = st.lists(st.sampled_from("vwxyz"), min_size=1, max_size=12)


@given(a=WORDS, b=WORDS)
def test_a_number_stands_for_one_text_and_one_of_its_times(a: list[str], b: list[str]) -> None:
    """Brute force: the nth time of a word in one task is the nth in the other."""
    found = same_texts(TASKS[:2], {"a": table(*a), "b": table(*b)})

    def named(words: list[str]) -> list[tuple[str, int]]:
        return [(word, words[:at].count(word)) for at, word in enumerate(words)]

    common = len({*named(a)} & {*named(b)})
    assert bool(found) == (common >= max(len(a), len(b)) / 2)
    for group in found:
        names = named(a) + named(b)
        numbers = [*group["a"].tolist(), *group["b"].tolist()]
        assert len(numbers) == len(names)
        assert len({*zip(names, numbers, strict=True)}) == len({*names}) == len({*numbers})
        assert {*numbers} == {*range(len({*numbers}))}


def test_who_has_half_of_the_texts_in_common_is_of_a_group() -> None:
    a = many(*range(10))
    assert groups(a=a, b=many(*range(5))) == [["a", "b"]]
    assert groups(a=a, b=many(*range(4))) == []
    assert groups(a=a, b=many(*range(6, 16))) == []
    others = many(*range(90, 99))
    assert groups(a=a, b=others, c=many(*range(2, 12)), d=others) == [["a", "c"], ["b", "d"]]


def test_pairs_are_the_same_where_both_texts_are() -> None:
    pairs = [(f"a{n}", f"b{n}") for n in range(4)]
    pair = make_table(pairs)
    assert groups(a=pair, b=make_table(pairs[::-1])) == [["a", "b"]]
    assert groups(a=pair, b=make_table([(b, a) for a, b in pairs])) == []
    assert groups(a=pair, b=table(*(f"{a}\0{b}" for a, b in pairs))) == []


@pytest.mark.parametrize("setting", [{"balance": "classes"}, {"max_length": 16}])
def test_who_is_dealt_or_cut_otherwise_is_of_no_group(setting: dict[str, object]) -> None:
    other = replace(TASKS[1], metric=None, **setting)  # type: ignore[arg-type]
    a = many(*range(4))
    assert groups([TASKS[0], other, TASKS[2]], a=a, b=a, c=a) == [["a", "c"]]


def test_texts_that_are_no_text_are_told_apart() -> None:
    odd = table("\ud800", "\ud801", "")
    assert len(np.unique(odd.digests)) == 3
    assert groups(a=odd, b=odd) == [["a", "b"]]
