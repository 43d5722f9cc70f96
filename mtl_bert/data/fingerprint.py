"""Digests: the same for the same content, in any process, without making the content."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple


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
