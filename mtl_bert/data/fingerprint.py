"""What decides the content of a table or of its tokens, as a key by which they are found again."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from mtl_bert.caching import file_digest


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
