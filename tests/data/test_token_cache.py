"""The cache against its promises: whole entries, checked, made once, the oldest removed."""

import errno
import json
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mtl_bert.data.token_cache import GIBI, META, Cache, Entry, directory
from mtl_bert.utils.files import TEMPORARY
from tests.forking import in_a_fork

KEY, OTHER = "ab" * 16, "cd" * 16
CONTENT = Entry(
    {"tokens": np.arange(5000, dtype=np.uint16), "labels": np.linspace(0, 1, 7)},
    {"origin": "a file", "rows": 7, "skipped": [["line 3", "no \ud800 label"]]},
)


def refuse() -> Entry:
    raise AssertionError("made again")


def the_same(a: Entry, b: Entry) -> bool:
    return (
        a.about == b.about
        and list(a.arrays) == list(b.arrays)
        and all(np.array_equal(a.arrays[n], b.arrays[n], equal_nan=True) for n in a.arrays)
        and all(a.arrays[name].dtype == b.arrays[name].dtype for name in a.arrays)
    )


def left_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.suffix != ".lock")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, GIBI)


arrays = st.dictionaries(
    st.sampled_from(["tokens", "labels", "cut"]),
    npst.arrays(npst.scalar_dtypes(), st.integers(1, 40)),
)
some_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(arrays=arrays, about=st.dictionaries(st.text(), some_json))
@settings(max_examples=30)
def test_what_was_made_comes_back(arrays: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        made = Entry(arrays, about)
        first = Cache(Path(place), GIBI).get(KEY, lambda: made, "it")
        again = Cache(Path(place), GIBI).get(KEY, refuse, "it")
        assert first.place == again.place == Path(place) / KEY
        assert the_same(first, made)
        assert the_same(again, made)


def test_arrays_are_mapped_and_cannot_be_written_to(cache: Cache, tmp_path: Path) -> None:
    entry = cache.get(KEY, lambda: CONTENT, "it")  # also in the process that made them
    mapped = Path("/proc/self/maps").read_text("utf-8")
    for name, array in entry.arrays.items():
        assert type(array) is np.ndarray
        assert not array.flags.writeable
        assert f"{tmp_path / KEY / name}.npy" in mapped


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_changed_byte_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), GIBI)
        cache.get(KEY, lambda: CONTENT, "it")
        path = data.draw(st.sampled_from(sorted((Path(place) / KEY).iterdir())))
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
        path.write_bytes(raw)
        made = []
        entry = cache.get(KEY, lambda: made.append(1) or CONTENT, "it")
        assert the_same(entry, CONTENT)
        # Of a change in meta.json that is none to JSON (a blank, a digit's case) nothing can come.
        assert made or path.name == META
        assert the_same(Cache(Path(place), GIBI).get(KEY, refuse, "it"), CONTENT)


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "an array is gone": lambda entry: (entry / "tokens.npy").unlink(),
    "meta.json is gone": lambda entry: (entry / META).unlink(),
    "cut short": lambda entry: os.truncate(entry / "tokens.npy", 100),
    "empty": lambda entry: os.truncate(entry / META, 0),
    "no JSON": lambda entry: (entry / META).write_bytes(b"\xff\x00"),
    "a list": lambda entry: (entry / META).write_text("[]"),
    "a number": lambda entry: (entry / META).write_text("3"),
    "of another version": lambda entry: (entry / META).write_text(
        json.dumps(json.loads((entry / META).read_text()) | {"format": 0})
    ),
    "a file instead": lambda entry: (entry.rename(entry.parent / "away"), entry.write_text("x")),
    "an empty directory": lambda entry: (entry.rename(entry.parent / "away"), entry.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_said_and_made_again(
    cache: Cache, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.get(KEY, lambda: CONTENT, "some file")
    DAMAGE[kind](tmp_path / KEY)
    assert the_same(cache.get(KEY, lambda: CONTENT, "some file"), CONTENT)
    (message,) = caplog.messages
    assert message.startswith("cache: some file is damaged (")
    assert "\n" not in message
    assert the_same(Cache(tmp_path, GIBI).get(KEY, refuse, "some file"), CONTENT)
    assert set(left_in(tmp_path)) <= {KEY, "away"}


def in_forks(works: list[Callable[[], object]]) -> list[int]:
    """Exit codes of copies of this process that do their work at the same time."""
    started = []
    for work in works:
        process = os.fork()
        if process == 0:
            os._exit(in_a_fork(work))
        started.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]


def test_of_several_processes_one_makes_and_the_others_wait(cache: Cache, tmp_path: Path) -> None:
    book = tmp_path / "book"

    def note(line: str) -> None:
        with book.open("a") as file:
            file.write(f"{line}\n")

    def make() -> Entry:
        note("made")
        time.sleep(0.5)
        return CONTENT

    def work() -> None:
        logging.getLogger("mtl_bert.data.token_cache").setLevel(logging.INFO)
        logging.getLogger("mtl_bert.data.token_cache").info = note_waiting  # type: ignore[method-assign]
        assert the_same(cache.get(KEY, make, "it"), CONTENT)
        note("done")

    def note_waiting(message: str, *_: object) -> None:
        note(message.split()[0])

    assert in_forks([work] * 4) == [0] * 4
    assert sorted(book.read_text().split()) == ["done"] * 4 + ["made"] + ["waiting"] * 3


def test_a_process_that_is_killed_leaves_nothing_to_trip_over(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(path: Path, array: object) -> None:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    def die() -> None:
        monkeypatch.setattr(np, "save", save)
        cache.get(KEY, lambda: CONTENT, "it")

    for _ in range(2):  # the other entry's next writer sweeps up as well
        assert in_a_fork(die) == -signal.SIGKILL
    assert any(name.endswith(TEMPORARY) for name in left_in(tmp_path))
    assert cache.entries() == []
    cache.get(OTHER, lambda: CONTENT, "another")
    assert left_in(tmp_path) == [OTHER]
    assert in_a_fork(die) == -signal.SIGKILL
    assert the_same(cache.get(KEY, lambda: CONTENT, "it"), CONTENT)
    assert left_in(tmp_path) == [KEY, OTHER]


def test_a_place_that_cannot_be_written_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = Cache(tmp_path / "file" / "cache", GIBI)
    for key in (KEY, OTHER, KEY):
        entry = cache.get(key, lambda: CONTENT, "it")
        assert the_same(entry, CONTENT)
        assert entry.place is None
    (message,) = caplog.messages  # once
    assert "MTL_BERT_CACHE=DIR" in message
    assert "trainer.cache=false" in message
    assert "\n" not in message
    assert cache.entries() == []
    assert cache.clear() == ([], [])


def test_a_full_disk(
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.get(OTHER, lambda: CONTENT, "it")

    def save(path: Path, array: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    for _ in range(2):
        assert the_same(cache.get(KEY, lambda: CONTENT, "it"), CONTENT)
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.text
    assert left_in(tmp_path) == [OTHER]
    assert the_same(cache.get(OTHER, refuse, "it"), CONTENT)  # what is there is still read


def test_an_error_of_what_makes_it_is_not_the_caches(cache: Cache, tmp_path: Path) -> None:
    def make() -> Entry:
        raise OSError("the data")

    with pytest.raises(OSError, match="the data"):
        cache.get(KEY, make, "it")
    assert left_in(tmp_path) == []
    assert the_same(cache.get(KEY, lambda: CONTENT, "it"), CONTENT)


@given(
    wanted=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    sizes=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    room=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_those_that_were_not_used_for_longest_go(
    wanted: list[int], sizes: list[int], room: int
) -> None:
    """Against a list in the order of use."""
    unit = 10_000  # beside which meta.json and headers are little
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), (room + 0.5) * unit)
        used: list[int] = []
        for number in wanted:
            made: list[int] = []
            array = np.full(sizes[number] * unit, number, np.uint8)
            entry = cache.get(
                f"{number:016x}", lambda a=array, m=made: m.append(1) or Entry({"a": a}, {}), "it"
            )
            assert np.array_equal(entry.arrays["a"], array)
            assert bool(made) == (number not in used)
            used = [number, *(other for other in used if other != number)]
            while made and len(used) > 1 and sum(sizes[n] for n in used) > room:
                used.pop()
            assert [int(kept.key, 16) for kept in cache.entries()] == used


def test_who_has_an_entry_mapped_keeps_it(cache: Cache, tmp_path: Path) -> None:
    entry = cache.get(KEY, lambda: CONTENT, "it")
    Cache(tmp_path, 1).get(OTHER, lambda: CONTENT, "another")
    assert left_in(tmp_path) == [OTHER]  # larger than all that there may be, and the newest
    assert the_same(entry, CONTENT)
    cache.clear()
    assert the_same(entry, CONTENT)


def test_clearing(cache: Cache, tmp_path: Path) -> None:
    for key in (KEY, OTHER):
        cache.get(key, lambda: CONTENT, "it")
    (tmp_path / f".{KEY}.left{TEMPORARY}").mkdir()
    (tmp_path / "notes.txt").write_text("somebody's")
    (tmp_path / OTHER / META).write_text("damaged")
    with FileLock(tmp_path / f"{KEY}.lock"):
        gone, busy = cache.clear()
    assert [entry.key for entry in gone] == [OTHER]
    assert [entry.key for entry in busy] == [KEY]
    assert (gone[0].about, busy[0].about) == ({}, CONTENT.about)
    assert busy[0].size > CONTENT.arrays["tokens"].nbytes
    assert [entry.key for entry in cache.clear()[0]] == [KEY]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert cache.entries() == []


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MTL_BERT_CACHE", str(tmp_path))
    assert directory() == tmp_path
    monkeypatch.delenv("MTL_BERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert directory() == tmp_path / "home" / "mtl_bert"
