"""What an example costs in each phase, and an epoch at the paper's sizes.

Where data are smaller or B is scaled, minutes per epoch compare nothing: phases have other lengths
beside each other. What an example costs stays as it is. Shapes: S seeds of a method.
"""

import numpy as np

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.document import Column, Table, numeric, table, words
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.numbers import Floats, over_seeds, summary
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, one_device, phases_of, row_of

ROUND_ROBIN = len(paper.SIZES) * min(size.train for size in paper.SIZES.values())
"""Examples of the paper's round-robin epoch."""

LARGEST = max(size.train for size in paper.SIZES.values())


def costs_table(study: Study) -> Table | None:
    """Examples, seconds and seconds per 1,000 examples of each method's phases."""
    rows, records = [], []
    for group in study.compared:
        devices = "; ".join(sorted(group.devices))
        for phase in dict.fromkeys(p.name for run in group.runs for p in phases_of(run.results)):
            found = [sums for run in group.runs if (sums := _sums(run, phase))[1]]
            if not found:
                continue
            epochs, examples, seconds = np.array(found).T
            per_epoch, each = seconds / epochs, 1000 * seconds / examples
            n = len(epochs)
            rows.append((
                group.label, phase, numbers.count((examples / epochs).mean()),
                over_seeds(per_epoch, numbers.ratio), over_seeds(each, numbers.ratio), str(n),
                devices,
            ))  # fmt: skip
            records.append({
                "method": group.label, "phase": phase,
                **summary("examples_per_epoch", examples / epochs),
                **summary("seconds_per_epoch", per_epoch),
                **summary("seconds_per_1000_examples", each),
                    "subject": study.subject.words, "n": n, "device": devices,
            })  # fmt: skip
    if not rows:
        return None
    return table(
        f"{study.slug}-costs",
        "What an example costs in each phase",
        study.subject,
        (
            *words("method", "phase"), *numeric("examples", "seconds", group="an epoch's"),
            *numeric("seconds per 1,000 examples", "n"), *words("device"),
        ),
        rows,
        caption=(
            "Mean ± standard deviation over the n seeds that have the phase; wall clock of the "
            "training steps. Where B was scaled, minutes per epoch are not in the paper's "
            "proportions; what an example costs is, on one device."
        ),
        records=records,
        folded=True,
    )  # fmt: skip


def _sums(run: Run, phase: str) -> tuple[float, float, float]:
    """The run's epochs, and the examples and seconds of a phase in all of them."""
    own = [p for p in phases_of(run.results) if p.name == phase]
    return len(run.results.epochs), sum(p.examples for p in own), sum(p.seconds for p in own)


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
    """Minutes of an epoch on the paper's training sets with the paper's B, by what ours took.

    One for each seed: [S]; None where a phase's examples are not known.
    """
    found = [_minutes(run, group.method) for run in group.runs]
    return None if None in found else np.array(found, dtype=np.float64)


def _minutes(run: Run, method: Method) -> float | None:
    if set(run.results.data.sizes) != set(paper.SIZES) or not run.results.epochs:
        return None
    total = 0.0
    for phase in phases_of(run.results):
        there = examples(method, phase.name)
        if there is None or not phase.examples:
            return None
        total += phase.seconds * there / phase.examples
    return total / len(run.results.epochs) / 60


def proportions_table(study: Study) -> Table | None:
    """The paper's rows: its minutes beside round-robin's, and ours at its sizes beside theirs."""
    second = paper.rows(2)
    rr_row, known = paper.row(2, "rr"), [row.recipe for row in second]
    rr = row_of(study.main, rr_row)
    own = None if rr is None else minutes(rr)
    if rr is None or own is None:
        return None
    rows, records = [], []
    for row in (*second, *(row for row in paper.rows(4) if row.recipe not in known)):
        group = row_of(study.main, row)
        found = None if group is None else minutes(group)
        if group is None or found is None:
            continue
        printed = row.minutes / rr_row.minutes
        # What another device took says nothing about the method.
        ratio = found / own.mean() if one_device(group, rr) else None
        rows.append((
            row.label, numbers.minutes(row.minutes), numbers.ratio(printed),
            over_seeds(found, numbers.minutes), over_seeds(ratio, numbers.minutes),
            str(len(found)),
        ))  # fmt: skip
        records.append({
            "method": row.label, "minutes_paper": row.minutes, "minutes_to_rr_paper": printed,
            **summary("minutes", found, "_mean"),
            "minutes_to_rr": None if ratio is None else float(ratio.mean()), "n": len(found),
        })  # fmt: skip
    if len(rows) < 2:
        return None
    return table(
        f"{study.slug}-proportions",
        "Minutes per epoch at the paper's sizes",
        study.subject,
        (
            *words("method"), *numeric("minutes", "÷ RR", group="paper"),
            *numeric("minutes", "÷ RR", group="ours at its sizes"), Column("n"),
        ),
        rows,
        caption=(
            "Ours: what an example took in each phase, times the examples that the phase has on "
            "the paper's training sets with the paper's B; mean ± standard deviation over n seeds. "
            "Only the ratios say something about the methods: devices and encoders differ, and so "
            f"do texts' lengths. {numbers.MISSING}: on another device than round-robin."
        ),
        records=records,
        folded=True,
    )  # fmt: skip
