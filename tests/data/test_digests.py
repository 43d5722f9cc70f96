"""Keys differ where content may differ, and are the same in another process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.sources.demo import paraphrase, sentiment
from mtl_bert.data.token_cache import UnknownContentError, code_of, digest
from mtl_bert.tasks import Binary, MultiClass, Regression
from tests.forking import in_a_new_process

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def typed(value: Any) -> Any:
    """Values so that == tells 1 from True and 1.0, and the order of keys counts."""
    if isinstance(value, dict):
        return [(key, typed(item)) for key, item in value.items()], dict
    if isinstance(value, list):
        return [typed(item) for item in value], list
    return repr(value), type(value)


@given(plain, plain)
def test_settings_have_the_same_digest_only_if_they_are_the_same(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == (typed(a) == typed(b))
    assert digest(a, b) != digest([a, b])


DIFFERENT = (
    Binary(),
    Binary(names=["yes", "no"]),
    MultiClass(["no", "yes"]),
    MultiClass(["a", "b", "c"]),
    Regression(low=0, high=5),
    Regression(low=0, high=4),
    paraphrase,
    sentiment,
    partial(paraphrase),
    partial(paraphrase, 3),
    partial(paraphrase, count=3),
)


def test_heads_and_functions() -> None:
    digests = [digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)
    assert digest(MultiClass(["a", "b", "c"])) == digests[3]
    assert digest({"make": partial(paraphrase)}) == digest({"make": partial(paraphrase)})


def test_another_process_comes_to_the_same(tmp_path: Path) -> None:
    def own() -> str:
        return digest(partial(paraphrase), Regression(low=0, high=5), {"a": None})

    place = tmp_path / "digest"
    assert in_a_new_process(lambda: place.write_text(own())) == 0
    assert place.read_text() == own()


class Foreign:
    """What nobody knows the content of."""


@dataclass
class Holder:
    content: Any


def local() -> Callable[[], int]:
    number = 3

    def inner() -> int:
        return number

    return inner


@pytest.mark.parametrize(
    "value",
    [Foreign(), Foreign, lambda: 1, local(), len, {1, 2}, Holder(Foreign()), b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_for_what_is_not_known_nothing_stands(value: object) -> None:
    for inside in (value, [value], {"key": value}, partial(paraphrase, value)):
        with pytest.raises(UnknownContentError):
            digest(inside)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two modules, and a module beside it, that can be imported."""
    place = tmp_path / "made_for_a_test"
    place.mkdir()
    for path in (place / "__init__.py", place / "one.py", place / "two.py", tmp_path / "alone.py"):
        path.write_text("def make(count, rng): return count\n")
    (place / "words.toml").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("made_for_a_test", "made_for_a_test.one", "made_for_a_test.two", "alone"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return place


@pytest.mark.parametrize(
    ("module", "changed", "differs"),
    [
        ("made_for_a_test.one", "made_for_a_test/one.py", True),
        ("made_for_a_test.one", "made_for_a_test/two.py", True),  # which it may import
        ("made_for_a_test.one", "made_for_a_test/words.toml", True),  # which it may read
        ("made_for_a_test.one", "alone.py", False),
        ("alone", "alone.py", True),
        ("alone", "other.py", False),
    ],
)
def test_changed_sources(package: Path, module: str, changed: str, differs: bool) -> None:
    make = __import__(module, fromlist=["make"]).make
    code_of.cache_clear()
    before = digest(make)
    (package.parent / changed).write_text("def make(count, rng): return 2 * count\n")
    assert digest(make) == before  # it was imported from the old ones
    code_of.cache_clear()  # as in another process
    assert (digest(make) != before) == differs


def test_a_module_without_a_file() -> None:
    with pytest.raises(UnknownContentError):
        code_of("sys")
    with pytest.raises(UnknownContentError):
        code_of("not.imported")
