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


def count(value: float | None) -> str:
    """A whole number, with commas."""
    return MISSING if value is None else f"{value:,.0f}"


def metric(value: float | None) -> str:
    """Three decimals, as the paper prints them."""
    return MISSING if value is None else f"{value:.3f}".replace("-", MINUS)


def change(value: float | None) -> str:
    """A difference, with its sign."""
    return MISSING if value is None else f"{value:+.3f}".replace("-", MINUS)


def minutes(value: float | None) -> str:
    """Minutes, with more digits where there are few of them."""
    if value is None:
        return MISSING
    size = abs(value)
    digits = 0 if size >= 100 else 2 if size >= 0.1 else 4
    return "0" if value == 0 else f"{value:.{digits}f}".replace("-", MINUS)


def ratio(value: float | None) -> str:
    """How many times as much."""
    return MISSING if value is None else f"{value:,.2f}"


def percent(share: float | None) -> str:
    """A share of 1, in %."""
    return MISSING if share is None else f"{100 * share:.1f} %".replace("-", MINUS)


def over_seeds(values: Floats | None, form: Callable[[float], str] = metric) -> str:
    """Mean ± standard deviation over seeds [S]; the number alone where there is one."""
    if values is None:
        return MISSING
    mean, sd = form(float(np.mean(values))), spread(values)
    unit = " %" if mean.endswith(" %") else ""
    return mean if sd is None else f"{mean.removesuffix(unit)} ± {form(sd).removeprefix('+')}"
