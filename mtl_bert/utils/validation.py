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
    whole: bool = False,
) -> None:
    """Raise ValueError unless ``value`` is a finite number from ``least`` to ``most``.

    ``name`` is how the command line calls the setting, ``example`` what could be written instead.
    """
    if isinstance(value, int if whole else int | float) and not isinstance(value, bool):
        if math.isfinite(value) and least <= value <= most:
            return
    bounds = f"{'whole' if whole else 'finite'} number ≥ {least:g}"
    if math.isfinite(most):
        bounds += f" and ≤ {most:g}"
    raise ValueError(
        f"{name}: expected a {bounds}, found {value!r}; write for example {name}={example:g}"
    )


class SamplerError(UserError, ValueError):
    """A sampler's setting that does not fit the tasks at hand."""


def whole_number(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ValueError unless ``value`` is a whole number ≥ 1 (or None where optional)."""
    if not (optional and value is None):
        number(name, value, 24, least=1, whole=True)
