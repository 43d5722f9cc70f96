"""The checks that samplers share; every message says what was expected, found and what to write."""

import math

from mtl_bert.utils.errors import UserError


def number(
    name: str,
    value: object,
    example: float,
    *,
    least: float = 0.0,
    most: float = math.inf,
    exclusive: bool = False,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Raise ValueError unless ``value`` is a finite number from ``least`` to ``most``.

    Args:
        name: how the command line calls the setting.
        value: what was found.
        example: what could be written instead.
        least, most: the smallest and the largest value.
        exclusive: ``least`` itself is too small.
        whole: only whole numbers.
        optional: None will do as well.
    """
    if optional and value is None:
        return
    if (
        isinstance(value, int if whole else int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= most
        and not (exclusive and value == least)
    ):
        return
    bounds = f"{'whole' if whole else 'finite'} number {'>' if exclusive else '≥'} {least:g}"
    if math.isfinite(most):
        bounds += f" and ≤ {most:g}"
    if optional:
        bounds += " or null"
    raise ValueError(
        f"{name}: expected a {bounds}, found {value!r}; write for example {name}={example:g}"
    )


class SamplerError(UserError, ValueError):
    """A sampler's setting that does not fit the tasks at hand."""


def whole_number(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ValueError unless ``value`` is a whole number ≥ 1 (or None where optional)."""
    number(name, value, 24, least=1, whole=True, optional=optional)
