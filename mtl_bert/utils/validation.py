"""The checks that samplers share; every message says what was expected, found and what to write."""

import sys

from mtl_bert.utils.errors import UserError

LARGEST = sys.float_info.max


def number(
    name: str,
    value: object,
    example: float,
    *,
    least: float = 0.0,
    most: float = LARGEST,
    exclusive: bool = False,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Raise ValueError unless ``value`` is a finite number from ``least`` to ``most``, or optional.

    ``name`` is how the command line calls the setting, ``example`` what could be written instead;
    ``exclusive`` refuses ``least`` itself.
    """
    if optional and value is None:
        return
    if (
        isinstance(value, int if whole else int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and not (exclusive and value == least)
    ):
        return
    bounds = f"{'whole' if whole else 'finite'} number {'>' if exclusive else '≥'} {least:g}"
    bounds += f" and ≤ {most:g}" if most < LARGEST else ""
    bounds += " or null" if optional else ""
    raise ValueError(
        f"{name}: expected a {bounds}, found {value!r}; write for example {name}={example:g}"
    )


class SamplerError(UserError, ValueError):
    """A sampler's setting that does not fit the tasks at hand."""


def whole_number(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ValueError unless ``value`` is a whole number ≥ 1 (or None where optional)."""
    number(name, value, 24, least=1, whole=True, optional=optional)
