"""What an epoch would take on the paper's training sets with the paper's B, by what ours took.

Smaller data and a scaled B change how long a method's phases are beside each other; what an example
costs they leave as it is. Shapes: S seeds of a method.
"""

from collections.abc import Mapping

import numpy as np

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.document import Cell, Column, Table
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.studies import Group, Study, one_device, row_of

ROUND_ROBIN = len(paper.SIZES) * min(size.train for size in paper.SIZES.values())
"""Examples of the paper's round-robin epoch."""

LARGEST = max(size.train for size in paper.SIZES.values())


def examples(method: Method, phase: str) -> int | None:
    """Examples of a phase of one of the paper's methods in an epoch on the paper's data.

    None where that is not known.
    """
    if phase == "rr":
        return ROUND_ROBIN
    if phase.startswith("full:"):
        size = paper.SIZES.get(phase.removeprefix("full:"))
        return None if size is None else size.train
    if method.B is None:
        return None
    if method.sampler == "arrp":
        return min(method.B, LARGEST)
    # B fixes the number of steps, and each of them has a batch for every task.
    return len(paper.SIZES) * method.B if method.sampler in ("annealed", "vanilla") else None


def minutes(group: Group) -> Floats | None:
    """Minutes that an epoch would take: [S]; None where a phase's examples are not known."""
    found = [_minutes(run, group.method) for run in group.runs]
    return None if None in found else np.array(found, dtype=np.float64)


def _minutes(run: Run, method: Method) -> float | None:
    if set(run.results.data.sizes) != set(paper.SIZES) or not run.results.epochs:
        return None
    total = 0.0
    for phase in (phase for epoch in run.results.epochs for phase in epoch.phases):
        there = examples(method, phase.name)
        if there is None or not phase.examples:
            return None
        total += phase.seconds * there / phase.examples
    return total / len(run.results.epochs) / 60


def proportions_table(study: Study) -> Table | None:
    """The paper's rows: its minutes beside round-robin's, and ours at its sizes beside theirs."""
    rr_row = paper.row(2, "rr")
    rr = row_of(study.main, rr_row)
    own = None if rr is None else minutes(rr)
    if rr is None or own is None:
        return None
    rows, records = [], []
    second = paper.rows(2)
    known = [row.recipe for row in second]
    for row in (*second, *(row for row in paper.rows(4) if row.recipe not in known)):
        group = row_of(study.main, row)
        found = None if group is None else minutes(group)
        if group is None or found is None:
            continue
        printed = row.minutes / rr_row.minutes
        # What another device took says nothing about the method.
        ratio = found / own.mean() if one_device(group, rr) else None
        rows.append((
            Cell(row.label), Cell(numbers.minutes(row.minutes)), Cell(numbers.ratio(printed)),
            Cell(numbers.minutes_with_spread(found)),
            Cell(numbers.MISSING if ratio is None else numbers.minutes_with_spread(ratio)),
            Cell(str(len(found))),
        ))  # fmt: skip
        records.append(_record(row, study, {
            "minutes_paper": row.minutes, "minutes_to_rr_paper": printed,
            "minutes_mean": float(found.mean()), "minutes_sd": spread(found),
            "minutes_to_rr": None if ratio is None else float(ratio.mean()), "n": len(found),
        }))  # fmt: skip
    if len(rows) < 2:
        return None
    return Table(
        name=f"{study.slug}-proportions",
        heading="Minutes per epoch at the paper's sizes",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            Column("minutes", "paper"),
            Column("÷ RR", "paper"),
            Column("minutes", "ours at its sizes"),
            Column("÷ RR", "ours at its sizes"),
            Column("n"),
        ),
        rows=tuple(rows),
        caption=(
            "Ours: what an example took in each phase, times the examples that the phase has on "
            "the paper's training sets with the paper's B; mean ± standard deviation over n seeds. "
            "Only the ratios say something about the methods: devices and encoders differ, and so "
            f"do texts' lengths. {numbers.MISSING}: on another device than round-robin."
        ),
        records=tuple(records),
        folded=True,
    )


def _record(
    row: paper.PaperRow, study: Study, values: Mapping[str, float | None]
) -> dict[str, str | int | float | None]:
    return {"method": row.label, **values, "subject": study.subject.words}
