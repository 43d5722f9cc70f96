"""The checks that samplers share; every message says what was expected, found and what to write."""

import math


class SamplerError(ValueError):
    """A sampler's setting that does not fit the tasks at hand."""


def whole_number(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ValueError unless ``value`` is a whole number ≥ 1 (or None where optional)."""
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        or_null = " or null" if optional else ""
        raise ValueError(
            f"{name}: expected a whole number ≥ 1{or_null}, found {value!r}; "
            f"write for example {name}=24"
        )


def non_negative(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number ≥ 0."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(
            f"{name}: expected a finite number ≥ 0, found {value!r}; write for example {name}=0.5"
        )
