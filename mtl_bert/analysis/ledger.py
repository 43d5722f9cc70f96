"""How much of each task's data was used: by a run epoch by epoch, and by methods.

Shapes: S seeds of a method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Cell, Column, Record, Table
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.studies import Group, Study
from mtl_bert.analysis.subject import Subject
from mtl_bert.runs.results import Results, Utilisation

WORDS = (
    "Different examples of one epoch are other ones in the next, so those of all epochs are "
    "counted over all of them and are no sum. Repeats are examples beyond the different ones; "
    "effective epochs are examples by the size of the training set."
)
_IN_ALL = "all"


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
            "task": self.task,
            "epoch": _IN_ALL if self.epoch is None else self.epoch,
            "examples": self.examples,
            "unique": self.unique,
            "size": self.size,
            "fraction": self.fraction,
            "repeats": self.repeats,
            "effective_epochs": self.effective_epochs,
        }


def entries(results: Results, tasks: Sequence[str]) -> list[Entry]:
    """A run's ledger: each task's epochs, then all of them together."""
    found = []
    for task in tasks:
        size = results.data.sizes.get(task, {}).get("train", 0)
        seen: list[tuple[int | None, Utilisation | None]] = [
            (epoch.epoch, epoch.utilisation.get(task)) for epoch in results.epochs
        ]
        for epoch, used in [*seen, (None, results.utilisation.get(task))]:
            if used is not None:
                found.append(Entry(task, epoch, used.examples, used.unique, size))
    return found


def mean_entries(group: Group, tasks: Sequence[str]) -> list[Entry]:
    """A method's ledger: means over the seeds that got as far."""
    by_place: dict[tuple[str, int | None], list[Entry]] = {}
    for run in group.runs:
        for entry in entries(run.results, tasks):
            by_place.setdefault((entry.task, entry.epoch), []).append(entry)
    return [
        Entry(
            task,
            epoch,
            float(np.mean([entry.examples for entry in found])),
            float(np.mean([entry.unique for entry in found])),
            found[0].size,
        )
        for (task, epoch), found in by_place.items()
    ]


def methods_table(study: Study) -> Table | None:
    """The ledger of every trained method; None without one."""
    cells, records = [], []
    for group in study.compared:
        found = mean_entries(group, study.tasks)
        for task in study.tasks:
            own = [entry for entry in found if entry.task == task]
            epochs, whole = [e for e in own if e.epoch], [e for e in own if e.epoch is None]
            if not epochs or not whole:
                continue
            mean = Entry(
                task,
                None,
                float(np.mean([entry.examples for entry in epochs])),
                float(np.mean([entry.unique for entry in epochs])),
                whole[0].size,
            )
            cells.append((
                Cell(group.label), Cell(task), *_texts(mean)[:3], *_texts(whole[0]),
                Cell(str(len(group.runs))),
            ))  # fmt: skip
        records += [
            {"method": group.label, **entry.record, "n": len(group.runs),
             "subject": study.subject.words}
            for entry in found
        ]  # fmt: skip
    if not cells:
        return None
    return Table(
        name=f"{study.slug}-ledger",
        heading="How much of its data each task saw",
        subject=study.subject,
        columns=(
            Column("method", numeric=False), Column("task", numeric=False),
            *(Column(heading, "in an epoch") for heading in _HEADINGS[:3]),
            *(Column(heading, "in all epochs") for heading in _HEADINGS),
            Column("n"),
        ),
        rows=tuple(cells),
        caption=f"Means over seeds; of an epoch also over epochs, each of which the CSV file has. "
        f"{WORDS}",
        records=tuple(records),
    )  # fmt: skip


def run_table(run: Run, tasks: Sequence[str], subject: Subject) -> Table:
    """The ledger of one run, epoch by epoch."""
    found = entries(run.results, tasks)
    return Table(
        name="ledger",
        heading="How much of its data each task saw",
        subject=subject,
        columns=(
            Column("task", numeric=False), Column("epoch"), *(Column(h) for h in _HEADINGS)
        ),
        rows=tuple(
            (Cell(e.task), Cell(_IN_ALL if e.epoch is None else str(e.epoch), bold=not e.epoch),
             *(Cell(cell.text, bold=not e.epoch) for cell in _texts(e)))
            for e in found
        ),
        caption=WORDS,
    )  # fmt: skip


_HEADINGS = ("examples", "different", "of the training set", "repeats", "effective epochs")


def _texts(entry: Entry) -> tuple[Cell, ...]:
    return tuple(
        Cell(text)
        for text in (
            f"{entry.examples:,.0f}",
            f"{entry.unique:,.0f}",
            numbers.percent(entry.fraction),
            f"{entry.repeats:,.0f}",
            numbers.ratio(entry.effective_epochs),
        )
    )
