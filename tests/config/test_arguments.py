"""KEY=VALUE to the letter."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.config.command_line import ArgumentError, read

KEYS = ("run", "split", "text", "text2")


@given(st.text(), st.text())
def test_values_are_taken_to_the_letter(first: str, second: str) -> None:
    assert read([f"text={first}", f"text2={second}"], KEYS) == {"text": first, "text2": second}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run: expected KEY=VALUE, found no =; write for example run=VALUE"),
        (["splt=dev"], "splt: expected a known key, found splt; did you mean split?"),
        (["nonsense=1"], "nonsense: expected a known key, found nonsense; see --help"),
        (["run=a", "run=a"], "run: expected one value, found two; leave one out"),
        (["=x"], ": expected a known key"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)) as refused:
        read(arguments, KEYS)
    assert len(str(refused.value).splitlines()) == 1
