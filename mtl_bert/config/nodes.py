"""What stands at the objects that settings name: whether it is of the types that they declare."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mtl_bert.config.settings import ConfigError, in_words, shown


def check_types(node: Any, where: str) -> None:
    """Compare the values of a node, and of the objects below it, with what ours declare.

    Args:
        node: a mapping, perhaps with ``_target_``.
        where: its dotted name.

    Raises:
        ConfigError: the first value of another type.
    """
    for key, value, kind in _declared(node, where):
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(
                kind, config=ConfigDict(arbitrary_types_allowed=True)
            )
            adapter.validate_python(value, strict=True)
        except ValidationError:
            raise ConfigError(
                f"{key}: expected {in_words(kind)}, found {shown(value)}; leave it out, or mend "
                "the file in which it stands"
            ) from None


def _declared(node: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """The values of a node and their declared types; what has a target is looked at by itself."""
    if not isinstance(node, Mapping):
        return
    types: dict[str, Any] = {"_partial_": bool}
    target = str(node.get("_target_", ""))
    if target.startswith("mtl_bert.") and "torchjd" not in target:
        with suppress(ImportError, AttributeError, ValueError):  # instantiation says what is wrong
            types |= get_type_hints(resolve_name(target))
    for name, value in node.items():
        key = f"{where}.{name}"
        if name in types and not (isinstance(value, Mapping) and "_target_" in value):
            yield key, value, types[name]
        yield from _declared(value, key)
