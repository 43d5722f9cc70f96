"""How numbers are written."""

import numpy as np

from mtl_bert.analysis.statistics import Floats, spread

MISSING, MINUS = "–", "−"


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
    return MISSING if value is None else f"{value:.2f}"


def percent(share: float | None) -> str:
    """A share of 1, in %."""
    return MISSING if share is None else f"{100 * share:.1f} %".replace("-", MINUS)


def percent_with_spread(shares: Floats) -> str:
    """Mean ± standard deviation over seeds, in %."""
    sd = spread(shares)
    mean = percent(float(np.mean(shares)))
    return mean if sd is None else f"{mean.removesuffix(' %')} ± {percent(sd)}"


def with_spread(values: Floats) -> str:
    """Mean ± standard deviation over seeds; the number alone where there is one."""
    sd = spread(values)
    mean = metric(float(np.mean(values)))
    return mean if sd is None else f"{mean} ± {sd:.3f}"


def minutes_with_spread(values: Floats) -> str:
    """The same for minutes."""
    sd = spread(values)
    return minutes(float(np.mean(values))) + ("" if sd is None else f" ± {minutes(sd)}")
