"""What stands at the objects that settings name: whether it is of the types that they declare."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mtl_bert.config.settings import ConfigError, in_words, shown


def check_types(node: Any, where: str) -> None:
    """Raise ConfigError for a value of a node, or of an object below it, of another type."""
    for key, value, target in values_of(node, where):
        types: dict[str, Any] = {"_partial_": bool}
        with suppress(ImportError, AttributeError, ValueError):  # instantiation says what is wrong
            types |= get_type_hints(resolve_name(target)) if is_ours(target) else {}
        if (name := key.rpartition(".")[2]) not in types:
            continue
        any_type = ConfigDict(arbitrary_types_allowed=True)
        try:
            TypeAdapter(types[name], config=any_type).validate_python(value, strict=True)
        except ValidationError:
            raise ConfigError(
                f"{key}: expected {in_words(types[name])}, found {shown(value)}; leave it out, or "
                "mend the file in which it stands"
            ) from None


def values_of(node: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    """The values of a node and of the objects below it: dotted name, value, who takes it."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            key = f"{where}.{name}"
            if not (isinstance(value, Mapping) and "_target_" in value):
                yield key, value, str(node.get("_target_", ""))
            yield from values_of(value, key)


def is_ours(target: str) -> bool:
    """Whether we declare and describe what it takes; TorchJD's is its own, and may be missing."""
    return target.startswith("mtl_bert.") and "torchjd" not in target
