"""How numbers are written."""

import numpy as np
import pytest

from mtl_bert.analysis import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00417, "0.0042"), (7.129, "7.13"), (93.1, "93.10"), (270.4, "270"),
     (-1.5, "−1.50"), (None, "–")],
)  # fmt: skip
def test_minutes(value: float | None, text: str) -> None:
    assert numbers.minutes(value) == text


def test_metrics_and_differences_have_a_true_minus() -> None:
    assert numbers.metric(-0.0234) == "−0.023"
    assert numbers.change(-0.0006) == "−0.001"
    assert numbers.change(0.25) == "+0.250"
    assert (numbers.metric(None), numbers.change(None), numbers.ratio(None)) == ("–", "–", "–")


def test_spread_is_said_where_there_is_any() -> None:
    assert numbers.over_seeds(np.array([0.5])) == "0.500"
    assert numbers.over_seeds(np.array([0.4, 0.6])) == "0.500 ± 0.141"
    assert numbers.over_seeds(np.array([1.0, 3.0]), numbers.minutes) == "2.00 ± 1.41"
