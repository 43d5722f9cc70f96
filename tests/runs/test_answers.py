"""A run's answers are read as they are written."""

import pandas as pd
import pytest

from mtl_bert.runs.answers import numbers


def test_answers_are_read_as_they_are_written() -> None:
    assert numbers(pd.Series([1, 2])).tolist() == [1, 2]
    assert numbers(pd.Series(["1 0 1", "0 0 0"])).tolist() == [[1, 0, 1], [0, 0, 0]]
    for wrong in (["1 0", "1"], ["1 0", "1 x"], ["1  0", "0 1"]):
        with pytest.raises(ValueError, match=r"inhomogeneous|could not convert"):
            numbers(pd.Series(wrong))
