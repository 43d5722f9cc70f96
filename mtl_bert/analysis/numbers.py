"""How numbers are written, and what is said of several seeds: mean, deviation and their number.

Shapes: S seeds of a method.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MISSING, MINUS = "–", "−"


def spread(values: Floats) -> float | None:
    """The standard deviation over seeds [S]; None for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _written(pattern: str, factor: float = 1) -> Callable[[float | None], str]:
    """How a number is written: with a true minus, and a dash where there is none."""

    def form(value: float | None) -> str:
        return MISSING if value is None else pattern.format(factor * value).replace("-", MINUS)

    return form


count = _written("{:,.0f}")
"""A whole number, with commas."""
metric = _written("{:.3f}")
"""Three decimals, as the paper prints them."""
change = _written("{:+.3f}")
"""A difference, with its sign."""
ratio = _written("{:,.2f}")
"""How many times as much."""
percent = _written("{:.1f} %", 100)
"""A share of 1, in %."""


def minutes(value: float | None) -> str:
    """Minutes, with more digits where there are few of them."""
    if value is None:
        return MISSING
    size = abs(value)
    digits = 0 if size >= 100 else 2 if size >= 0.1 else 4
    return "0" if value == 0 else f"{value:.{digits}f}".replace("-", MINUS)


def over_seeds(values: Floats | None, form: Callable[[float], str] = metric) -> str:
    """Mean ± standard deviation over seeds [S]; the number alone where there is one."""
    if values is None:
        return MISSING
    mean, sd = form(float(np.mean(values))), spread(values)
    unit = " %" if mean.endswith(" %") else ""
    return mean if sd is None else f"{mean.removesuffix(unit)} ± {form(sd).removeprefix('+')}"
