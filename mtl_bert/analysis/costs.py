"""What an example costs in each phase: where B is scaled, minutes per epoch compare nothing.

Shapes: S seeds of a method.
"""

from collections.abc import Sequence

import numpy as np

from mtl_bert.analysis.document import Cell, Column, Record, Table
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.studies import Group, Study
from mtl_bert.runs.results import PhaseRecord


def costs_table(study: Study) -> Table | None:
    """Examples, seconds and seconds per 1,000 examples of each method's phases."""
    rows, records = [], []
    for group in study.compared:
        for phase in _phases(group):
            runs = [run for run in group.runs if any(p.examples for p in _of(run, phase))]
            if not runs:
                continue
            epochs = np.array([len(run.results.epochs) for run in runs])
            examples = np.array([sum(p.examples for p in _of(run, phase)) for run in runs])
            seconds = np.array([sum(p.seconds for p in _of(run, phase)) for run in runs])
            each = 1000 * seconds / examples
            rows.append((
                Cell(group.label), Cell(phase), Cell(f"{(examples / epochs).mean():,.0f}"),
                Cell(_two_digits(seconds / epochs)), Cell(_two_digits(each)),
                Cell(str(len(runs))), Cell(_devices(group)),
            ))  # fmt: skip
            record = _record(study, group, phase, examples / epochs, seconds / epochs, each)
            records.append({**record, "n": len(runs), "device": _devices(group)})
    if not rows:
        return None
    return Table(
        name=f"{study.slug}-costs",
        heading="What an example costs in each phase",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            Column("phase", numeric=False),
            Column("examples", "an epoch's"),
            Column("seconds", "an epoch's"),
            Column("seconds per 1,000 examples"),
            Column("n"),
            Column("device", numeric=False),
        ),
        rows=tuple(rows),
        caption=(
            "Mean ± standard deviation over the n seeds that have the phase; wall clock of the "
            "training steps. Where B was scaled, minutes per epoch are not in the paper's "
            "proportions; what an example costs is, on one device."
        ),
        records=tuple(records),
        folded=True,
    )


def _phases(group: Group) -> list[str]:
    """Their names, in the order of an epoch."""
    names = (p.name for run in group.runs for epoch in run.results.epochs for p in epoch.phases)
    return list(dict.fromkeys(names))


def _of(run: Run, phase: str) -> list[PhaseRecord]:
    return [p for epoch in run.results.epochs for p in epoch.phases if p.name == phase]


def _devices(group: Group) -> str:
    return "; ".join(sorted(group.devices))


def _two_digits(values: Floats) -> str:
    sd = spread(values)
    mean = f"{values.mean():,.2f}"
    return mean if sd is None else f"{mean} ± {sd:,.2f}"


def _record(study: Study, group: Group, phase: str, *columns: Floats) -> Record:
    record: dict[str, str | int | float | None] = {"method": group.label, "phase": phase}
    names: Sequence[str] = ("examples_per_epoch", "seconds_per_epoch", "seconds_per_1000_examples")
    for name, values in zip(names, columns, strict=True):
        record |= {name: float(values.mean()), f"{name}_sd": spread(values)}
    return {**record, "subject": study.subject.words}
