"""A run's answers to the dev sets, read back from ``predictions/TASK.csv``."""

from itertools import islice
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl_bert.utils.errors import first_line

LEFT_OUT = "(left out)"  # in place of a text that no reader may see
ANSWERS = ("label", "prediction")


class UnusableError(ValueError):
    """A file of a run that cannot be used, and why."""


def read_answers(path: Path) -> pd.DataFrame:
    """The file's rows, in its order.

    Columns: id, text (and text2 of a pair), label and prediction as they are written (see
    :func:`numbers`), and confidence: the probability that the model gave its prediction, NaN where
    there is none.

    Raises:
        UnusableError: the file is missing or damaged.
    """
    types = dict.fromkeys(("id", "text", "text2"), "str") | {"confidence": "float"}
    try:
        with catch_warnings():
            simplefilter("error", pd.errors.ParserWarning)  # rows longer than the heading
            rows = pd.read_csv(path, dtype=types, keep_default_na=False, index_col=False,
                               na_values={"confidence": [""]})  # fmt: skip
    except FileNotFoundError as error:
        raise UnusableError(f"{path.name} is missing") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UnusableError(f"{path.name} cannot be read ({first_line(error)})") from error
    if absent := {"id", "text", "confidence", *ANSWERS} - set(rows):
        raise UnusableError(f"{path.name} has no column {', '.join(sorted(absent))}")
    if rows.empty:
        raise UnusableError(f"{path.name} has no labels to compare with")
    return rows


def read_compared(path: Path) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """The file's rows, its labels and its predictions: [N] each, or of several labels [N, C].

    Raises:
        UnusableError: the file is missing or damaged, or one of these is no number.
    """
    rows = read_answers(path)
    try:
        labels, predictions = (numbers(rows[name]) for name in ANSWERS)
    except ValueError as error:
        raise UnusableError(f"{path.name} cannot be read ({first_line(error)})") from error
    if not np.isfinite(labels).all() or labels.shape != predictions.shape:
        raise UnusableError(f"{path.name} has no labels to compare with")
    return rows, labels, predictions


def numbers(column: pd.Series) -> NDArray[np.float64]:
    """Labels or predictions: numbers [N], or with spaces between several of each [N, C].

    Raises:
        ValueError: something else, or not as many of each.
    """
    if column.dtype.kind in "iuf":
        return np.asarray(column, np.float64)
    return np.array([[float(part) for part in str(cell).split(" ")] for cell in column])


def has_texts(path: Path) -> bool:
    """Whether the file has the examples' texts, as none from an archive has."""
    with path.open("rb") as file:
        return LEFT_OUT.encode() not in b"".join(islice(file, 2))
