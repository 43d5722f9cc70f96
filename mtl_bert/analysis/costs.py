"""What an example costs in each phase, and an epoch at the paper's sizes.

Where data are smaller or B is scaled, minutes per epoch compare nothing: phases have other lengths
beside each other. What an example costs stays as it is. Shapes: S seeds of a method.
"""

import numpy as np
import pandas as pd

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.document import Table, numeric, table, words
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, one_device, phases_of, row_of
from mtl_bert.runs.results import Results

ROUND_ROBIN = len(paper.SIZES) * min(size.train for size in paper.SIZES.values())
"""Examples of the paper's round-robin epoch."""

LARGEST = max(size.train for size in paper.SIZES.values())


def phase_sums(results: Results) -> pd.DataFrame:
    """Steps, examples and seconds of each phase over all epochs, and how many epochs there are."""
    phases = [(p.name, p.steps, p.examples, p.seconds) for p in phases_of(results)]
    found = pd.DataFrame(phases, columns=["phase", "steps", "examples", "seconds"])
    return found.groupby("phase", sort=False).sum().assign(epochs=len(results.epochs))


def costs_table(study: Study) -> Table | None:
    """Examples, seconds and seconds per 1,000 examples of each method's phases."""
    records = []
    for group in study.compared:
        phases = pd.concat([phase_sums(run.results).reset_index() for run in group.runs])
        for phase, own in phases[phases["examples"] > 0].groupby("phase", sort=False):
            found = own[["epochs", "examples", "seconds"]].to_numpy(float)
            epochs, examples, seconds = found.T
            records.append({
                "method": group.label, "phase": phase,
                "examples_per_epoch": examples / epochs, "_examples": (examples / epochs).mean(),
                "seconds_per_epoch": seconds / epochs,
                "seconds_per_1000_examples": 1000 * seconds / examples,
                "n": len(own), "device": "; ".join(sorted(group.devices)),
            })  # fmt: skip
    if not records:
        return None
    return table(
        f"{study.slug}-costs",
        "What an example costs in each phase",
        study.subject,
        (
            *words("method", "phase"), *numeric({"_examples": "examples"}, group="an epoch's"),
            *numeric({"seconds_per_epoch": "seconds"}, numbers.ratio, group="an epoch's"),
            *numeric({"seconds_per_1000_examples": "seconds per 1,000 examples"}, numbers.ratio),
            *numeric(["n"]), *words("device"),
        ),
        records,
        caption=(
            "Mean ± standard deviation over the n seeds that have the phase; wall clock of the "
            "training steps. Where B was scaled, minutes per epoch are not in the paper's "
            "proportions; what an example costs is, on one device."
        ),
        folded=True,
    )  # fmt: skip


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
    records = []
    for row in (*second, *(row for row in paper.rows(4) if row.recipe not in known)):
        group = row_of(study.main, row)
        found = None if group is None else minutes(group)
        if group is None or found is None:
            continue
        # What another device took says nothing about the method.
        ratio = found / own.mean() if one_device(group, rr) else None
        records.append({
            "method": row.label, "minutes_paper": row.minutes,
            "minutes_to_rr_paper": row.minutes / rr_row.minutes,
            "minutes": found, "minutes_to_rr": ratio, "n": len(found),
        })  # fmt: skip
    if len(records) < 2:
        return None
    printed, ours = "paper", "ours at its sizes"
    return table(
        f"{study.slug}-proportions",
        "Minutes per epoch at the paper's sizes",
        study.subject,
        (
            *words("method"), *numeric({"minutes_paper": "minutes"}, numbers.minutes, printed),
            *numeric({"minutes_to_rr_paper": "÷ RR"}, numbers.ratio, printed),
            *numeric({"minutes": "minutes", "minutes_to_rr": "÷ RR"}, numbers.minutes, ours),
            *numeric(["n"]),
        ),
        records,
        caption=(
            "Ours: what an example took in each phase, times the examples that the phase has on "
            "the paper's training sets with the paper's B; mean ± standard deviation over n seeds. "
            "Only the ratios say something about the methods: devices and encoders differ, and so "
            f"do texts' lengths. {numbers.MISSING}: on another device than round-robin."
        ),
        folded=True,
    )  # fmt: skip
