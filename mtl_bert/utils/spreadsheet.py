"""CSV files for spreadsheets: texts that others have written stay texts, none is a formula."""

import re
from typing import Any

import pandas as pd

FORMULA = re.compile(r"^[=+\-@\t\n]")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?$")


def harmless(value: Any) -> Any:
    """The same, but of a text that a spreadsheet would calculate with a quote before it."""
    if not isinstance(value, str):
        return value
    value = re.sub("\r\n?", "\n", value)  # a carriage return would end the row
    return f"'{value}" if FORMULA.match(value) and not _NUMBER.match(value) else value


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as a CSV file that people open in a spreadsheet: no cell of it is a formula."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetimetz"])
    safe = frame.assign(**{str(name): texts[name].astype(object).map(harmless) for name in texts})
    return str(safe.rename(columns=harmless).to_csv(index=False, lineterminator="\n"))
