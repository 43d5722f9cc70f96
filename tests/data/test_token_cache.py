"""The cache against its promises: whole entries, checked, made once, the least used removed."""

import errno
import hashlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mtl_bert.data.table import Encoded
from mtl_bert.data.token_cache import ABANDONED, GIBI, SUFFIX, Cache, directory
from mtl_bert.utils.files import TEMPORARY
from tests.factories import assert_same_tokens
from tests.forking import in_a_fork

KEY, OTHER = "ab" * 16, "cd" * 16
CONTENT = Encoded(
    np.arange(5000, dtype=np.uint16),
    None,
    np.arange(0, 5001, 1000),
    1,
    np.linspace(0, 1, 5),
    np.arange(5) > 2,
    "some file",
    ("line 3: no \ud800 label",),
)


def refuse() -> Encoded:
    raise AssertionError("made again")


def get(cache: Cache, key: str = KEY, make: Callable[[], Encoded] = lambda: CONTENT) -> Encoded:
    return cache.get(key, make, CONTENT.origin)


def the_same(a: Encoded, b: Encoded) -> bool:
    assert_same_tokens(a, b)
    return True


def sole(place: Path, key: str = KEY) -> Path:
    """The file of an entry."""
    (found,) = place.glob(f"{key}.*{SUFFIX}")
    return found


def left_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.suffix != ".lock")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, GIBI)


@st.composite
def contents(draw: st.DrawFn) -> Encoded:
    per_example, rows = draw(st.sampled_from([1, 2])), draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(1, 5), min_size=(n := rows * per_example), max_size=n))
    total = sum(lengths)
    kind = draw(st.sampled_from([np.uint16, np.int32]))
    return Encoded(
        draw(npst.arrays(kind, total)),
        draw(st.none() | npst.arrays(np.uint8, total)),
        np.cumsum([0, *lengths]),
        per_example,
        draw(st.none() | npst.arrays(np.float64, rows, elements=st.floats(allow_nan=False))),
        draw(npst.arrays(np.bool_, n)),
        CONTENT.origin,
        tuple(draw(st.lists(st.text(), max_size=3))),
    )


@given(content=contents())
@settings(max_examples=30, deadline=None)
def test_what_was_made_comes_back(content: Encoded) -> None:
    with tempfile.TemporaryDirectory() as place:
        first = get(Cache(Path(place), GIBI), make=lambda: content)
        again = get(Cache(Path(place), GIBI), make=refuse)
        assert first.file == again.file == sole(Path(place))
        assert the_same(first, content)
        assert the_same(again, content)


def test_arrays_are_mapped_and_cannot_be_written_to(cache: Cache, tmp_path: Path) -> None:
    entry = get(cache)  # also in the process that made them
    assert str(sole(tmp_path)) in Path("/proc/self/maps").read_text("utf-8")
    for array in (entry.tokens, entry.offsets, entry.labels, entry.cut):
        assert type(array) is np.ndarray
        assert not array.flags.writeable


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_changed_byte_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), GIBI)
        get(cache)
        path = sole(Path(place))
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 400))
        raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
        path.write_bytes(raw)
        made: list[int] = []
        assert the_same(get(cache, make=lambda: made.append(1) or CONTENT), CONTENT)
        assert made
        assert the_same(get(cache, make=refuse), CONTENT)


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "cut short": lambda entry: os.truncate(entry, 100),
    "empty": lambda entry: os.truncate(entry, 0),
    "longer": lambda entry: os.truncate(entry, 10**6),
    "something else under a fitting name": lambda entry: (
        entry.unlink(),
        (entry.parent / f"{KEY}.{hashlib.sha256(b'text').hexdigest()}{SUFFIX}").write_text("text"),
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_said_and_made_again(
    cache: Cache, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    get(cache)
    DAMAGE[kind](sole(tmp_path))
    assert the_same(get(cache), CONTENT)
    (message,) = caplog.messages
    assert message.startswith("cache: some file is damaged (")
    assert "\n" not in message
    assert the_same(get(cache, make=refuse), CONTENT)
    assert left_in(tmp_path) == [sole(tmp_path).name]


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

    def make() -> Encoded:
        note("made")
        time.sleep(0.5)
        return CONTENT

    def work() -> None:
        logging.getLogger("mtl_bert.data.token_cache").setLevel(logging.INFO)
        logging.getLogger("mtl_bert.data.token_cache").info = note_waiting  # type: ignore[method-assign]
        assert the_same(get(cache, make=make), CONTENT)
        note("done")

    def note_waiting(message: str, *_: object) -> None:
        note(message.split()[0])

    assert in_forks([work] * 4) == [0] * 4
    assert sorted(book.read_text().split()) == ["done"] * 4 + ["made"] + ["waiting"] * 3


def test_a_process_that_is_killed_leaves_nothing_to_trip_over(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        get(cache)

    assert in_a_fork(die) == -signal.SIGKILL
    left = [path for path in tmp_path.iterdir() if path.suffix in (TEMPORARY, ".lock")]
    assert len(left) == 2
    assert cache.entries() == []
    assert the_same(get(cache), CONTENT)
    entry = sole(tmp_path).name
    assert len(left_in(tmp_path)) == 2  # for all that we know somebody is still writing it
    for path in left:
        if path.exists():
            os.utime(path, (0, time.time() - ABANDONED))
    get(cache, OTHER)
    assert left_in(tmp_path) == [entry, sole(tmp_path, OTHER).name]


def test_a_place_that_cannot_be_written_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = Cache(tmp_path / "file" / "cache", GIBI)
    for key in (KEY, OTHER, KEY):
        entry = get(cache, key)
        assert the_same(entry, CONTENT)
        assert entry.file is None
    (message,) = caplog.messages  # once
    assert "MTL_BERT_CACHE=DIR" in message
    assert "trainer.cache=false" in message
    assert "\n" not in message
    assert cache.entries() == []
    assert cache.clear() == []


def test_a_full_disk(
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    get(cache, OTHER)
    before = left_in(tmp_path)

    def write(path: Path, content: bytes) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    for _ in range(2):
        assert the_same(get(cache), CONTENT)
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.text
    assert left_in(tmp_path) == before
    assert the_same(get(cache, OTHER, refuse), CONTENT)  # what is there is still read


def test_an_error_of_what_makes_it_is_not_the_caches(cache: Cache, tmp_path: Path) -> None:
    def make() -> Encoded:
        raise OSError("the data")

    with pytest.raises(OSError, match="the data"):
        get(cache, make=make)
    assert list(tmp_path.iterdir()) == []
    assert the_same(get(cache), CONTENT)


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
    unit = 10_000  # beside which headers are little
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), (room + 0.5) * unit)
        used: list[int] = []
        for number in wanted:
            made: list[int] = []
            tokens = np.full(sizes[number] * unit // 2, number, np.uint16)
            content = replace(CONTENT, tokens=tokens)
            entry = get(cache, f"{number:032x}", lambda c=content, m=made: m.append(1) or c)
            assert the_same(entry, content)
            assert bool(made) == (number not in used)
            used = [number, *(other for other in used if other != number)]
            while made and len(used) > 1 and sum(sizes[n] for n in used) > room:
                used.pop()
            assert [int(k.path.name.split(".")[0], 16) for k in cache.entries()] == used


def test_who_has_an_entry_mapped_keeps_it(cache: Cache, tmp_path: Path) -> None:
    entry = get(cache)
    newest = get(Cache(tmp_path, 1), OTHER)
    assert cache.entries()[0].path == newest.file  # larger than all that there may be
    assert len(cache.entries()) == 1
    assert the_same(entry, CONTENT)
    cache.clear()
    assert the_same(entry, CONTENT)


def test_clearing(cache: Cache, tmp_path: Path) -> None:
    for key in (KEY, OTHER):
        get(cache, key)
    (tmp_path / f".{KEY}.left{TEMPORARY}").write_text("half")
    (tmp_path / f"{KEY}.lock").write_text("")
    foreign = {"notes.txt", "model.fp16.safetensors", ".mine.tmp"}
    for name in foreign:
        (tmp_path / name).write_text("somebody's")
    sole(tmp_path, OTHER).write_text("damaged")
    with FileLock(tmp_path / f"{OTHER}.lock"):  # somebody is encoding: a second must wait
        gone = {entry.path.name[:2]: entry for entry in cache.clear()}
        assert (tmp_path / f"{OTHER}.lock").exists()
    cache.clear()
    assert gone["cd"].about == {}
    assert (gone["ab"].about["origin"], gone["ab"].about["rows"]) == ("some file", 5)
    assert gone["ab"].size > CONTENT.tokens.nbytes
    assert {path.name for path in tmp_path.iterdir()} == foreign
    assert cache.entries() == []


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MTL_BERT_CACHE", str(tmp_path))
    assert directory() == tmp_path
    monkeypatch.delenv("MTL_BERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert directory() == tmp_path / "home" / "mtl_bert"
