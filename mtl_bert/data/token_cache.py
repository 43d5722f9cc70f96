"""Encoded texts on disk, for the next run and for the runs beside it.

An entry is one file, ``KEY.CHECKSUM.safetensors``: the key is a digest of everything that decides
the content, the checksum one of the file's bytes. One process makes an entry while others wait for
it; the file appears as a whole or not at all. The least recently used entries are evicted when all
together are too large; a process that has one mapped keeps it.
"""

import hashlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open

from mtl_bert.data.table import Encoded
from mtl_bert.utils.files import TEMPORARY, replacing

log = logging.getLogger(__name__)

GIBI = 2**30
VARIABLE = "MTL_BERT_CACHE"
SUFFIX = ".safetensors"
KEY = "[0-9a-f]" * 32  # a pattern: the directory may hold files of other programs
ABANDONED = 3600.0  # seconds after which an unfinished file or a lock is nobody's any more


def directory() -> Path:
    """Where entries are: ``$MTL_BERT_CACHE``, else the user's own directory for caches."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else user_cache_path("mtl_bert", appauthor=False)


class Kept(NamedTuple):
    """What can be said of an entry without opening its arrays."""

    path: Path
    size: int  # bytes
    used: float  # last, in seconds since 1970
    about: Mapping[str, Any]  # its origin and number of rows; empty where the file is damaged


class Cache:
    """A directory of entries.

    Args:
        place: the directory; it is made when something is to be written.
        limit: bytes that all entries together may have; the newest one may be larger.
    """

    def __init__(self, place: Path, limit: float) -> None:
        self.place, self._limit = place, limit
        self._usable = True

    def get(self, key: str, make: Callable[[], Encoded], origin: str) -> Encoded:
        """Open an entry, or ``make`` it where there is none or a byte of it is wrong.

        One process makes it while others wait. Messages and what is returned name the ``origin``.
        """
        if (found := self._open(key, origin)) is not None:
            return found
        with self._alone(key, origin):
            if (found := self._open(key, origin)) is not None:
                return found
            return self._keep(key, replace(make(), origin=origin))

    def entries(self) -> list[Kept]:
        """All entries, the one used last first."""
        found = []
        for path in self.place.glob(f"{KEY}.*{SUFFIX}"):
            with suppress(OSError):  # removed meanwhile
                status = path.stat()
                found.append(Kept(path, status.st_size, status.st_mtime, _about(path)))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self) -> list[Kept]:
        """Remove all entries, and say what they were; one that is being made appears afterwards."""
        return self._remove(math.inf, 0)

    def _open(self, key: str, origin: str) -> Encoded | None:
        """The entry, now the one used last, or None; what is damaged is removed."""
        for path in self.place.glob(f"{key}.*{SUFFIX}"):
            try:
                if file_digest(path) != path.name.split(".")[1]:
                    raise ValueError("it is not as it was written")
                encoded = Encoded.open(path, origin)
                with suppress(OSError):  # somebody else's directory
                    os.utime(path, ns=(time.time_ns(),) * 2)  # finer than the file system's clock
                return encoded
            except FileNotFoundError:  # removed meanwhile
                continue
            except (OSError, ValueError, SafetensorError) as problem:
                log.warning("cache: %s is damaged (%s): rebuilding it", origin, problem)
                with suppress(OSError):
                    path.unlink()
        return None

    def _keep(self, key: str, made: Encoded) -> Encoded:
        """Write an entry and map it, its memory now shared; as it was made if that fails."""
        if not self._usable:
            return made
        content = made.to_bytes()
        path = self.place / f"{key}.{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            self._remove(sum(e.size for e in self.entries()) - self._limit, ABANDONED, path)
            return Encoded.open(path, made.origin)
        except (FileNotFoundError, SafetensorError):  # cleared meanwhile
            pass
        except OSError as error:
            self._do_without(error)
        return made

    def _remove(self, excess: float, age: float, newest: Path | None = None) -> list[Kept]:
        """Remove so many bytes of the least recently used, and what nobody will finish.

        That is unfinished files and locks of processes that were killed ``age`` seconds ago.
        """
        gone = []
        for entry in reversed(self.entries()):
            if excess > 0 and entry.path != newest:
                entry.path.unlink(missing_ok=True)
                gone.append(entry)
                excess -= entry.size
        for path in (*self.place.glob(f".{KEY}.*{TEMPORARY}"), *self.place.glob(f"{KEY}.lock")):
            with suppress(OSError):  # such as that of a lock that somebody holds
                if time.time() - path.stat().st_mtime >= age:
                    lock = path.suffix == ".lock"
                    with FileLock(path, blocking=False) if lock else nullcontext():
                        path.unlink()
        return gone

    @contextmanager
    def _alone(self, key: str, origin: str) -> Iterator[None]:
        """Hold an entry's lock, if the place can be written to."""
        path = self.place / f"{key}.lock"
        lock = FileLock(path)
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                log.info("waiting for another process that encodes %s", origin)
                lock.acquire()
        except (OSError, NotImplementedError) as error:  # a file system without locks, too
            self._do_without(error)
        try:
            yield
        finally:
            if lock.is_locked:
                # Whoever waits for this file notices that it is gone, and finds the entry.
                path.unlink(missing_ok=True)
                lock.release()

    def _do_without(self, error: Exception) -> None:
        """Say once that nothing is kept."""
        if self._usable:
            log.warning(
                "cache: nothing is kept, because %s cannot be written to (%s); write %s=DIR to "
                "have it elsewhere, or trainer.cache=false",
                *(self.place, getattr(error, "strerror", None) or error, VARIABLE),
            )
        self._usable = False


def _about(path: Path) -> Mapping[str, Any]:
    try:
        with safe_open(path, "np") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
        return about
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return {}


# What keys are made of: the same for the same content, in any process, without making the content.


class UnknownContentError(Exception):
    """The content of something cannot be known without making it."""


def digest(*parts: object) -> str:
    """Reduce settings, functions and dataclasses to 32 hexadecimal digits.

    Raises:
        UnknownContentError: one of them is of another kind (an object, a lambda, a set, ...).
    """
    text = json.dumps(parts, default=_described)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


@cache
def code_of(module: str) -> str:
    """A digest of a module's source and, where it is in a package, of code and texts beside it.

    Raises:
        UnknownContentError: the module has no source file.
    """
    loaded = sys.modules.get(module)
    path = Path(getattr(loaded, "__file__", None) or "")
    if not path.is_file():
        raise UnknownContentError(f"{module} has no file")
    made_of = [path]
    if getattr(loaded, "__package__", ""):
        made_of = [p for p in sorted(path.parent.iterdir()) if p.suffix in (".py", ".toml")]
    return digest([[each.name, file_digest(each)] for each in made_of])


def file_digest(path: Path) -> str:
    """A digest of a file's bytes: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(value: object) -> Any:
    """What JSON writes instead of a value that it does not know."""
    if isinstance(value, partial):
        return {"partial": [value.func, value.args, value.keywords]}
    if isinstance(value, FunctionType) and "<" not in value.__qualname__:  # no lambda, no closure
        return {"function": [value.__module__, value.__qualname__, code_of(value.__module__)]}
    if is_dataclass(value) and not isinstance(value, type):
        kind = [type(value).__module__, type(value).__qualname__, code_of(type(value).__module__)]
        return {"object": kind, "fields": {f.name: getattr(value, f.name) for f in fields(value)}}
    raise UnknownContentError(f"{type(value).__name__} is not known")
