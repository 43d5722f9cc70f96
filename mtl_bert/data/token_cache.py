"""Arrays that took long to make, kept on disk for the next run and shared by runs beside it.

An entry is a directory named by its key: an ``.npy`` file for each array, mapped into memory when
it is opened, and ``meta.json``, which says what the arrays are and has a checksum of everything. It
is written as a whole or not at all, by one process while others wait for it. Entries that were not
used for longest go when all together are too large; who has them mapped keeps them.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_path

from mtl_bert.utils.files import TEMPORARY, creating


class UnknownContentError(Exception):
    """Something whose content cannot be told without making it."""


class Fingerprint(NamedTuple):
    """What a split will be, known without reading it.

    Attributes:
        origin: what its table will have as such.
        digest: of all else that decides the table.
    """

    origin: str
    digest: str


def digest(*parts: object) -> str:
    """Thirty-two hexadecimal digits that stand for settings, functions, tasks' heads, ...

    Raises:
        UnknownContentError: for one of them nothing can stand.
    """
    text = json.dumps(_described(parts), sort_keys=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


@cache
def code_of(module: str) -> str:
    """A digest of a module's source and, where it is in a package, of those beside it.

    Raises:
        UnknownContentError: there is no such file.
    """
    loaded = sys.modules.get(module)
    name = getattr(loaded, "__file__", None)
    if name is None or not Path(name).is_file():
        raise UnknownContentError(f"{module} has no file")
    beside = sorted(Path(name).parent.glob("*.py")) if getattr(loaded, "__package__", "") else []
    return digest([[path.name, file_digest(path)] for path in beside or [Path(name)]])


def _described(value: object) -> Any:
    """The same in JSON, different for whatever differs."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    if isinstance(value, Mapping):
        return {"items": [[_described(key), _described(item)] for key, item in value.items()]}
    if isinstance(value, partial):
        return {"partial": _described([value.func, value.args, value.keywords])}
    if isinstance(value, FunctionType) and "<" not in value.__qualname__:  # no lambda, no closure
        return {"function": [value.__module__, value.__qualname__, code_of(value.__module__)]}
    if is_dataclass(value) and not isinstance(value, type):
        made = type(value)
        content = {field.name: getattr(value, field.name) for field in fields(value)}
        named = [made.__module__, made.__qualname__, code_of(made.__module__)]
        return {"object": [*named, _described(content)]}
    raise UnknownContentError(f"{type(value).__name__} is not known")


log = logging.getLogger(__name__)

FORMAT = 1  # of an entry's directory
META = "meta.json"
GIBI = 2**30
VARIABLE = "MTL_BERT_CACHE"
NO_LOCKS = (OSError, NotImplementedError)  # what a file system that has none answers with


def directory() -> Path:
    """Where entries are: ``$MTL_BERT_CACHE``, else the user's own directory for such things."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else user_cache_path("mtl_bert", appauthor=False)


class DamageError(Exception):
    """An entry that is not as it was written."""


@dataclass(frozen=True)
class Entry:
    """Arrays, and what is to be known of them.

    Attributes:
        arrays: each under a name that a file can have; none is empty.
        about: what JSON can hold.
        place: the directory that the arrays are mapped from, or None.
    """

    arrays: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]
    place: Path | None = None


class Kept(NamedTuple):
    """What can be said of an entry without opening its arrays.

    Attributes:
        key: its name.
        size: in bytes.
        used: when, in seconds since 1970.
        about: as in ``Entry``, or nothing if that is damaged.
    """

    key: str
    size: int
    used: float
    about: Mapping[str, Any]


class Cache:
    """A directory of entries.

    Args:
        place: the directory; it is made when something is to be written.
        limit: bytes that all entries together may have; the one written last may be larger.
    """

    def __init__(self, place: Path, limit: float) -> None:
        self.place, self._limit = place, limit
        self._usable = True

    def get(self, key: str, make: Callable[[], Entry], what: str) -> Entry:
        """Open an entry; make it where it is not there or is damaged.

        Args:
            key: hexadecimal digits, a function of everything that decides the content.
            make: called in one process at a time.
            what: it is, for messages.
        """
        with suppress(OSError, DamageError):  # what is wrong, who holds the lock finds out
            return self._open(key)
        with ExitStack() as stack:
            try:
                if self._usable:
                    stack.enter_context(self._locked(key, what))
                    if (found := self._open_or_remove(key, what)) is not None:
                        return found
            except NO_LOCKS as error:
                self._do_without(error)
            made = make()
            return self._keep(key, made) if self._usable else made

    def entries(self) -> list[Kept]:
        """All entries, the one used last first."""
        found = []
        for key in self._keys():
            with suppress(OSError):  # removed meanwhile
                found.append(self._described(key))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self) -> tuple[list[Kept], list[Kept]]:
        """Remove everything; the entries that are gone, and those that somebody is writing."""
        entries = self.entries()
        gone = {key: self._remove_unless_busy(key) for key in self._keys(all_traces=True)}
        return (
            [entry for entry in entries if gone.get(entry.key, True)],
            [entry for entry in entries if not gone.get(entry.key, True)],
        )

    def _open(self, key: str) -> Entry:
        entry = read(self.place / key)
        with suppress(OSError):  # somebody else's directory
            now = time.time_ns()  # finer than the file system's own clock
            os.utime(self.place / key / META, ns=(now, now))
        return entry

    def _open_or_remove(self, key: str, what: str) -> Entry | None:
        """The entry that another process has written, or None; what is damaged is gone then."""
        try:
            return self._open(key)
        except FileNotFoundError as error:
            if not (self.place / key).exists():
                return None
            problem: Exception = error
        except (OSError, DamageError) as error:
            problem = error
        log.warning("cache: %s is damaged (%s); it is made again", what, problem)
        self._discard(self.place / key)
        return None

    def _keep(self, key: str, made: Entry) -> Entry:
        """Write an entry and open it, its memory now shared; as it was made if that fails."""
        try:
            self._discard_temporaries(key)
            _write(self.place / key, made)
            self._make_room(key)
        except OSError as error:
            with suppress(OSError, DamageError):
                return self._open(key)  # a process that did not see our lock was faster
            self._do_without(error)
            return made
        try:
            return self._open(key)
        except (OSError, DamageError):  # cleared meanwhile
            return made

    def _make_room(self, newest: str) -> None:
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self._limit
        for entry in reversed(entries):
            if excess > 0 and entry.key != newest and self._remove_unless_busy(entry.key):
                excess -= entry.size
        known = {entry.key for entry in entries}
        for key in self._keys(all_traces=True) - known:  # left by processes that were killed
            self._remove_unless_busy(key)

    def _keys(self, *, all_traces: bool = False) -> set[str]:
        """Of entries; with all traces, also of locks and of what was never finished."""
        pattern = re.compile(r"\.?([0-9a-f]{16,})(\..+)?" if all_traces else r"([0-9a-f]{16,})")
        with suppress(OSError):
            names = [path.name for path in self.place.iterdir()]
            return {found[1] for name in names if (found := pattern.fullmatch(name))}
        return set()

    def _described(self, key: str) -> Kept:
        place = self.place / key
        size = sum(path.stat().st_size for path in place.iterdir())
        try:
            about, used = _meta(place)["about"], (place / META).stat().st_mtime
        except (OSError, DamageError):
            about, used = {}, place.stat().st_mtime
        return Kept(key, size, used, about)

    def _remove_unless_busy(self, key: str) -> bool:
        lock = FileLock(self._lock_file(key), blocking=False)
        try:
            with lock:
                self._discard(self.place / key)
                self._discard_temporaries(key)
                self._lock_file(key).unlink(missing_ok=True)
        except Timeout:
            return False
        return True

    def _discard(self, path: Path) -> None:
        """Remove a directory so that nobody sees a part of it."""
        aside = self.place / f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}"
        with suppress(FileNotFoundError):
            path.rename(aside)
            _remove(aside)

    def _discard_temporaries(self, key: str) -> None:
        """Remove what a process left that was killed while it wrote; our lock says it has ended."""
        for path in self.place.glob(f".{key}.*{TEMPORARY}"):
            _remove(path)

    @contextmanager
    def _locked(self, key: str, what: str) -> Iterator[None]:
        self.place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock_file(key))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting for another process that encodes %s", what)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock_file(self, key: str) -> Path:
        return self.place / f"{key}.lock"

    def _do_without(self, error: Exception) -> None:
        """Say once that nothing is kept."""
        self._usable = False
        reason = getattr(error, "strerror", None) or error
        log.warning(
            "cache: nothing is kept, because %s cannot be written to (%s); write %s=DIR to have it "
            "elsewhere, or trainer.cache=false",
            *(self.place, reason, VARIABLE),
        )


def read(place: Path, *, check: bool = True) -> Entry:
    """Map the arrays of an entry into memory.

    Args:
        place: the entry's directory.
        check: whether to compare all of it with its checksums.

    Raises:
        OSError, DamageError: it is not there, or not as it was written.
    """
    meta = _meta(place)
    arrays = {}
    for name, checksum in meta["arrays"].items():
        path = place / f"{name}.npy"
        if check and file_digest(path) != checksum:
            raise DamageError(f"{path.name} is not as it was written")
        # A plain array that keeps the mapping: numpy's own class for mapped ones is slow to index.
        arrays[name] = np.asarray(np.load(path, mmap_mode="r"))
    return Entry(arrays, meta["about"], place)


def file_digest(path: Path) -> str:
    """What tells a file's content from any other."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _write(place: Path, entry: Entry) -> None:
    with creating(place) as temporary:
        checksums = {}
        for name, array in entry.arrays.items():
            np.save(temporary / f"{name}.npy", array)
            checksums[name] = file_digest(temporary / f"{name}.npy")
        meta = {"format": FORMAT, "arrays": checksums, "about": dict(entry.about)}
        text = json.dumps(meta | {"checksum": _checksum(meta)}, indent=1)
        (temporary / META).write_text(text, "ascii")


def _meta(place: Path) -> dict[str, Any]:
    text = (place / META).read_bytes()
    try:
        meta: dict[str, Any] = json.loads(text)
        checksum = meta.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamageError(f"{META} cannot be read") from None
    if checksum != _checksum(meta) or meta.get("format") != FORMAT:
        raise DamageError(f"{META} is not as it was written")
    return meta


def _checksum(meta: Mapping[str, Any]) -> str:
    text = json.dumps(meta, sort_keys=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
