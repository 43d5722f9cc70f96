"""Every column of every frame and table: what it means, its unit, and how it is written.

``columns.csv`` declares each once; documentation, headings and the form of numbers come from there.
:func:`reference` makes ``docs/reference/frames.md`` (tests/analysis/test_frames.py says how).
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

MISSING, MINUS = "–", "−"
SHORT = ".3g"  # three digits wherever they stand; whole numbers from 1,000 on
KEYS = ("run", "setting", "method", "seed")


class Column(NamedTuple):
    """A column: its name and type for pandas, and what readers see of it.

    ``form`` is the format specification of its numbers, and nothing for words; the words of
    ``frames`` are those that have it.
    """

    name: str
    dtype: str
    form: str
    unit: str
    title: str
    frames: str
    about: str

    def write(self, value: Any, deviation: Any = None) -> str:
        """A value for readers, with ± its deviation where that is known."""
        if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
            return MISSING
        if self.dtype == "bool":
            return "yes" if value else "no"
        if self.dtype.startswith("datetime"):
            return f"{value:%Y-%m-%d %H:%M}"
        if not self.form:
            return str(value)
        whole = self.form == SHORT and abs(value) >= 999.5
        number = format(value, ",.0f" if whole else self.form).replace("-", MINUS)
        if deviation is None or pd.isna(deviation):
            return number
        return f"{number.removesuffix('%')} ± {self.write(deviation).removeprefix('+')}"


FRAMES = {
    "runs": "A row for each run.",
    "settings": "A row for each setting; only runs of one setting may be compared.",
    "scores": "A row for each run and task: what the best epoch reached, and the data used.",
    "epochs": "A row for each run, epoch and task.",
    "phases": "A row for each run, epoch and phase.",
    "conflicts": "A row for each run, epoch, phase, part of the encoder and pair of tasks.",
    "influences": "A row for each run, epoch, phase and task: its part in the updates.",
    "predictions": "A row for each run, task and dev example: the best epoch's answer.",
    "leaderboard": "A row for each method of a setting, beside a baseline.",
    "differences": "A row for each pair of methods and each task or the score: first minus second.",
}
"""Each frame, and what its rows are."""
with Path(__file__).with_name("columns.csv").open(encoding="utf-8", newline="") as _file:
    COLUMNS = {row[0]: Column(*row) for row in list(csv.reader(_file))[1:]}
"""Every column by its name, which means the same in every frame."""


def column(name: str, title: str = "") -> Column:
    """A column's declaration; of ``TASK.value`` or another with a task before it, the task's.

    ``title`` is for a table where it stands for something narrower.
    """
    task, _, last = name.rpartition(".")
    found = COLUMNS.get(name) or COLUMNS[last]._replace(name=name, title=task)
    return found._replace(title=title) if title else found


def write(name: str, value: Any, deviation: Any = None) -> str:
    """A value of a column, as readers see it."""
    return column(name).write(value, deviation)


def names(frame: str) -> list[str]:
    """The columns of a frame, in order."""
    return [name for name, column in COLUMNS.items() if frame in column.frames.split()]


def frame(name: str, records: Iterable[tuple[Any, ...]], keys: pd.DataFrame) -> pd.DataFrame:
    """A declared frame.

    Args:
        name: its name.
        records: a tuple for each row: the number of its run, then its columns but the keys.
        keys: the keys' columns, a row for each run.
    """
    rest = [each for each in names(name) if each not in keys]
    numbers, *values = list(zip(*records, strict=True)) or [()] * (len(rest) + 1)
    made = {
        each: pd.Categorical(column, categories=list(dict.fromkeys(column)))
        if COLUMNS[each].dtype == "category"  # in the order in which they come
        else pd.Series(list(column), dtype=COLUMNS[each].dtype)
        for each, column in zip(rest, values, strict=True)
    }
    return pd.concat([keys.take(list(numbers)).reset_index(drop=True), pd.DataFrame(made)], axis=1)


def reference() -> str:
    """All frames and their columns, as Markdown."""
    lines = ["# Frames", "", "What `mtl_bert.analysis` makes of runs, as pandas frames; "
             "`mtl-bert report DIR --to csv` (or `parquet`) writes them."]  # fmt: skip
    for name, about in FRAMES.items():
        lines += ["", f"## {name}", "", about, "", "| column | type | unit | what it is |",
                  "|---|---|---|---|"]  # fmt: skip
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.about} |"
                  for c in map(column, names(name))]  # fmt: skip
    return "\n".join(lines)
