"""Encoded texts on disk, for the next run and for the runs beside it.

An entry is one file, ``KEY.CHECKSUM.safetensors``: the key is a digest of everything that decides
the content, the checksum one of the file's bytes. One process makes an entry while others wait for
it; the file appears as a whole or not at all. The least recently used entries are evicted when all
together are too large; a process that has one mapped keeps it.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
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
        """Open an entry, or make it where there is none or a byte of it is wrong.

        Args:
            key: hexadecimal digits that stand for everything that decides the content.
            make: encodes the texts; called in one process at a time.
            origin: where the texts come from now, for messages and for what is returned.
        """
        if (found := self._open(key, origin)) is not None:
            return found
        with ExitStack() as stack:
            try:
                if self._usable:
                    stack.enter_context(self._locked(key, origin))
                    if (found := self._open(key, origin)) is not None:
                        return found
            except (OSError, NotImplementedError) as error:  # a file system without locks, too
                self._do_without(error)
            made = replace(make(), origin=origin)
            return self._keep(key, made) if self._usable else made

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
        entries = self.entries()
        for entry in entries:
            entry.path.unlink(missing_ok=True)
        self._sweep(0)
        return entries

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
        content = made.to_bytes()
        path = self.place / f"{key}.{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            self._evict(path)
            return Encoded.open(path)
        except (FileNotFoundError, SafetensorError):  # cleared meanwhile
            pass
        except OSError as error:
            self._do_without(error)
        return made

    def _evict(self, newest: Path) -> None:
        """Remove the least recently used until the rest fits, and what nobody will finish."""
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self._limit
        for entry in reversed(entries):
            if excess > 0 and entry.path != newest:
                entry.path.unlink(missing_ok=True)
                excess -= entry.size
        self._sweep(ABANDONED)

    def _sweep(self, age: float) -> None:
        """Remove unfinished files and locks of processes that were killed so many seconds ago."""
        for pattern in (f".{KEY}.*{TEMPORARY}", f"{KEY}.lock"):
            for path in self.place.glob(pattern):
                with suppress(OSError):  # such as that of a lock that somebody holds
                    if time.time() - path.stat().st_mtime >= age:
                        lock = path.suffix == ".lock"
                        with FileLock(path, blocking=False) if lock else nullcontext():
                            path.unlink()

    @contextmanager
    def _locked(self, key: str, origin: str) -> Iterator[None]:
        self.place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.place / f"{key}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting for another process that encodes %s", origin)
            lock.acquire()
        try:
            yield
        finally:
            # Whoever waits for this file notices that it is gone, and finds the entry.
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def _do_without(self, error: Exception) -> None:
        """Say once that nothing is kept."""
        self._usable = False
        reason = getattr(error, "strerror", None) or error
        log.warning(
            "cache: nothing is kept, because %s cannot be written to (%s); write %s=DIR to have it "
            "elsewhere, or trainer.cache=false",
            *(self.place, reason, VARIABLE),
        )


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


class Fingerprint(NamedTuple):
    """What a split's table will be, without reading it: its origin, and a digest of all else."""

    origin: str
    digest: str


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
    name = getattr(loaded, "__file__", None)
    if name is None or not Path(name).is_file():
        raise UnknownContentError(f"{module} has no file")
    made_of = [Path(name)]
    if getattr(loaded, "__package__", ""):
        beside = sorted(made_of[0].parent.iterdir())
        made_of = [path for path in beside if path.suffix in (".py", ".toml")]
    return digest([[path.name, file_digest(path)] for path in made_of])


def file_digest(path: Path) -> str:
    """A digest of a file's bytes: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(value: object) -> Any:
    """What JSON writes instead of a value that it does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, partial):
        return {"partial": [value.func, value.args, value.keywords]}
    if isinstance(value, FunctionType) and "<" not in value.__qualname__:  # no lambda, no closure
        return {"function": [value.__module__, value.__qualname__, code_of(value.__module__)]}
    if is_dataclass(value) and not isinstance(value, type):
        kind = [type(value).__module__, type(value).__qualname__, code_of(type(value).__module__)]
        return {"object": kind, "fields": {f.name: getattr(value, f.name) for f in fields(value)}}
    raise UnknownContentError(f"{type(value).__name__} is not known")
