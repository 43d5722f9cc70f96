"""How much of each task's data was used: by a run epoch by epoch, and by methods.

Shapes: S seeds of a method.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Cell, Record, Table, numeric, table, words
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, Subject
from mtl_bert.runs.results import Results

WORDS = (
    "Different examples of one epoch are other ones in the next, so those of all epochs are "
    "counted over all of them and are no sum. Repeats are examples beyond the different ones; "
    "effective epochs are examples by the size of the training set."
)
_IN_ALL = "all"
_HEADINGS = ("examples", "different", "of the training set", "repeats", "effective epochs")


@dataclass(frozen=True)
class Entry:
    """A task's examples in an epoch, or in all.

    Attributes:
        task: its name.
        epoch: counted from 1; None is all of them.
        examples: repeats included.
        unique: different ones.
        size: of the training set.
    """

    task: str
    epoch: int | None
    examples: float
    unique: float
    size: int

    @property
    def repeats(self) -> float:
        """Examples that had been seen before."""
        return self.examples - self.unique

    @property
    def fraction(self) -> float | None:
        """Of the training set; None where that is not known."""
        return self.unique / self.size if self.size else None

    @property
    def effective_epochs(self) -> float | None:
        """How often the training set was gone through, on average over its examples."""
        return self.examples / self.size if self.size else None

    @property
    def record(self) -> Record:
        """All numbers."""
        return {
            **asdict(self),
            "epoch": self.epoch or _IN_ALL,
            "fraction": self.fraction,
            "repeats": self.repeats,
            "effective_epochs": self.effective_epochs,
        }

    @property
    def texts(self) -> tuple[str, ...]:
        """The same for a table."""
        return (
            numbers.count(self.examples), numbers.count(self.unique),
            numbers.percent(self.fraction), numbers.count(self.repeats),
            numbers.ratio(self.effective_epochs),
        )  # fmt: skip


def entries(results: Results, tasks: Sequence[str]) -> list[Entry]:
    """What a run used: of each task epoch by epoch, then of all epochs together."""
    places = [(epoch.epoch, epoch.utilisation) for epoch in results.epochs]
    return [
        Entry(
            task, epoch, used[task].examples, used[task].unique, results.data.sizes[task]["train"]
        )
        for task in tasks
        for epoch, used in [*places, (None, results.utilisation)]
        if task in used
    ]


def mean_entries(group: Group, tasks: Sequence[str]) -> list[Entry]:
    """What a method used: means over the seeds that got as far."""
    by_place: dict[tuple[str, int | None], list[Entry]] = {}
    for run in group.runs:
        for entry in entries(run.results, tasks):
            by_place.setdefault((entry.task, entry.epoch), []).append(entry)
    return [_mean(found, epoch) for (_, epoch), found in by_place.items()]


def _mean(found: Sequence[Entry], epoch: int | None) -> Entry:
    examples, unique = np.mean([(entry.examples, entry.unique) for entry in found], axis=0).tolist()
    return Entry(found[0].task, epoch, examples, unique, found[0].size)


def methods_table(study: Study) -> Table | None:
    """What every trained method used; None without one."""
    rows: list[tuple[str, ...]] = []
    records: list[Record] = []
    for group in study.compared:
        found = mean_entries(group, study.tasks)
        for task in study.tasks:
            epochs = [entry for entry in found if entry.task == task and entry.epoch]
            for whole in (e for e in found if e.task == task and not e.epoch and epochs):
                texts = (*_mean(epochs, None).texts[:3], *whole.texts)
                rows.append((group.label, task, *texts, str(group.n)))
        records += [{"method": group.label, **entry.record, "n": group.n} for entry in found]
    if not rows:
        return None
    return table(
        f"{study.slug}-ledger",
        "How much of its data each task saw",
        study.subject,
        (
            *words("method", "task"), *numeric(*_HEADINGS[:3], group="in an epoch"),
            *numeric(*_HEADINGS, group="in all epochs"), *numeric("n"),
        ),
        rows,
        caption=f"Means over seeds; of an epoch also over epochs, each of which the CSV file has. "
        f"{WORDS}",
        records=records,
    )  # fmt: skip


def run_table(run: Run, tasks: Sequence[str], subject: Subject) -> Table:
    """What one run used, epoch by epoch."""
    rows: list[tuple[str | Cell, ...]] = [
        (e.task, *(Cell(t, bold=not e.epoch) for t in (str(e.epoch or _IN_ALL), *e.texts)))
        for e in entries(run.results, tasks)
    ]
    return table(
        "ledger",
        "How much of its data each task saw",
        subject,
        (*words("task"), *numeric("epoch", *_HEADINGS)),
        rows,
        caption=WORDS,
    )
