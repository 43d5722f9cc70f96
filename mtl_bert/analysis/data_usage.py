"""How much of each task's data was used: by a run epoch by epoch, and by methods."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Column, Record, Table, numeric, table, words
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, Subject
from mtl_bert.runs.results import Results

WORDS = (
    "Different examples of one epoch are other ones in the next, so those of all epochs are "
    "counted over all of them and are no sum. Repeats are examples beyond the different ones; "
    "effective epochs are examples by the size of the training set."
)
ALL = "all"


def usage(results: Results, tasks: Sequence[str]) -> pd.DataFrame:
    """What a run used: of each task epoch by epoch, then of all epochs together (``all``).

    Columns: task, epoch, examples (repeats included), unique (different ones), size (of the
    training set), fraction (of it, NaN where the size is not known), repeats, effective_epochs.
    """
    places = [(epoch.epoch, epoch.utilisation) for epoch in results.epochs]
    rows = [
        (task, place, used[task].examples, used[task].unique, results.data.sizes[task]["train"])
        for task in tasks
        for place, used in [*places, (ALL, results.utilisation)]
        if task in used
    ]
    return _shares(pd.DataFrame(rows, columns=["task", "epoch", "examples", "unique", "size"]))


def _shares(used: pd.DataFrame) -> pd.DataFrame:
    size = used["size"].replace(0, np.nan)
    return used.assign(
        fraction=used["unique"] / size,
        repeats=used["examples"] - used["unique"],
        effective_epochs=used["examples"] / size,
    )


def mean_usage(group: Group, tasks: Sequence[str]) -> pd.DataFrame:
    """What a method used: means over the seeds that got as far."""
    frames = [usage(run.results, tasks) for run in group.runs]
    return pd.concat(frames).groupby(["task", "epoch"], sort=False).mean().reset_index()


def _columns(prefix: str = "", group: str = "", *, short: bool = False) -> list[Column]:
    found = [
        *numeric({f"{prefix}examples": "examples", f"{prefix}unique": "different"}, group=group),
        *numeric({f"{prefix}fraction": "of the training set"}, numbers.percent, group),
        *numeric({f"{prefix}repeats": "repeats"}, group=group),
        *numeric({f"{prefix}effective_epochs": "effective epochs"}, numbers.ratio, group),
    ]
    return found[:3] if short else found


def methods_table(study: Study) -> Table | None:
    """What every trained method used; None without one."""
    shown, records = [], []
    for group in study.compared:
        found = mean_usage(group, study.tasks).assign(method=group.label, n=group.n)
        records += _records(found)
        epochs = found[found["epoch"] != ALL].groupby("task")[["examples", "unique", "size"]].mean()
        for whole in _records(found[found["epoch"] == ALL]):
            if whole["task"] in epochs.index:
                (each,) = _records(_shares(epochs.loc[[whole["task"]]]))
                shown.append(whole | {f"_{key}": value for key, value in each.items()})
    if not shown:
        return None
    return table(
        f"{study.slug}-ledger",
        "How much of its data each task saw",
        study.subject,
        (
            *words("method", "task"), *_columns("_", "in an epoch", short=True),
            *_columns("", "in all epochs"), *numeric(["n"]),
        ),
        shown,
        files=records,
        caption=f"Means over seeds; of an epoch also over epochs, each of which the CSV file has. "
        f"{WORDS}",
    )  # fmt: skip


def _records(frame: pd.DataFrame) -> list[Record]:
    """Rows with None for what is not known."""
    known = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(known.columns, row, strict=True)) for row in known.itertuples(index=False)]


def run_table(run: Run, tasks: Sequence[str], subject: Subject) -> Table:
    """What one run used, epoch by epoch."""
    records = _records(usage(run.results, tasks))
    return table(
        "ledger",
        "How much of its data each task saw",
        subject,
        (*words("task"), *numeric(["epoch"]), *_columns()),
        records,
        bold={
            (place, key) for place, each in enumerate(records) if each["epoch"] == ALL
            for key in each
        },
        caption=WORDS,
    )  # fmt: skip
