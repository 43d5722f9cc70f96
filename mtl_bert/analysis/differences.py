"""Is a difference real? All pairs of methods, as a matrix and one by one."""

from itertools import chain

from mtl_bert.analysis import numbers
from mtl_bert.analysis.comparing import RULE, Comparison, Difference
from mtl_bert.analysis.document import Block, Cell, Column, Points, Record, Table, Text
from mtl_bert.analysis.statistics import LEVEL, RESAMPLES, SEED, Interval
from mtl_bert.analysis.studies import SCORE, Group, Study

_SIGNS = {1: "▲", -1: "▼", 0: "○"}


def blocks(study: Study, comparison: Comparison) -> list[Block]:
    """The rule, the matrix of the score and the table of all pairs."""
    pairs = comparison.pairs()
    if not pairs:
        return [Text("One method alone has nothing to differ from.")]
    how = (
        f"{RESAMPLES:,} resamples of each dev set, the same for all methods, drawn independently "
        f"for each task, averaged over the seeds that both have; level {LEVEL:.0%}; random numbers "
        f"from {SEED}. With {len(pairs)} pairs and no correction for their number, some "
        f"differences exclude 0 by chance alone."
    )
    left_out = Points(comparison.excluded)
    found: list[Block] = [Text(RULE), Text(how)]
    if comparison.excluded:
        found += [Text("Without a bootstrap:"), left_out]
    return [*found, _matrix(study, comparison), _pairs(study, comparison, pairs)]


def _matrix(study: Study, comparison: Comparison) -> Table:
    groups = comparison.groups
    rows = []
    for first in groups:
        cells = [Cell(first.label)]
        for second in groups:
            if first is second:
                cells.append(Cell(""))
                continue
            difference = comparison.difference(first, second)
            real = difference.sign != 0
            mark = "?" if difference.unknown else _SIGNS[difference.sign]
            cells.append(Cell(f"{numbers.change(difference.mean)} {mark}", bold=real))
        rows.append(tuple(cells))
    return Table(
        name=f"{study.slug}-differences-matrix",
        heading="Differences of the score: row minus column",
        subject=study.subject,
        columns=(Column("method", numeric=False), *(Column(group.label) for group in groups)),
        rows=tuple(rows),
        caption=(
            "▲ real, row higher; ▼ real, row lower; ○ not shown to be real; ? cannot be said "
            "(one seed in common, or no predictions). Bold: real."
        ),
        records=tuple(
            {"method": row.label, **{g.label: _mean(comparison, row, g) for g in groups},
             "subject": study.subject.words}
            for row in groups
        ),
    )  # fmt: skip


def _mean(comparison: Comparison, first: Group, second: Group) -> float | None:
    return None if first is second else comparison.difference(first, second).mean


def _pairs(study: Study, comparison: Comparison, pairs: list[tuple[Group, Group]]) -> Table:
    whats = (SCORE, *study.tasks)
    each = [(a, b, what, comparison.difference(a, b, what)) for a, b in pairs for what in whats]
    return Table(
        name=f"{study.slug}-differences",
        heading="Every pair of methods, in the score and in each task",
        subject=study.subject,
        columns=(
            *(Column(h, numeric=False) for h in ("method", "minus", "in")),
            Column("difference"),
            Column("dev examples", "95 % interval over"),
            Column("seeds", "95 % interval over"),
            Column("common seeds"),
            Column("verdict", numeric=False),
        ),
        rows=tuple(
            (
                Cell(a.label), Cell(b.label), Cell(what), Cell(numbers.change(d.mean)),
                Cell(_shown(d.examples)), Cell(_shown(d.seeds)), Cell(str(d.common)),
                Cell(d.verdict, bold=d.sign != 0),
            )
            for a, b, what, d in each
        ),
        caption=(
            "Task rows are differences of the metric itself; the score maps each metric to 0..1. "
            f"{study.subject.warning}"
        ).strip(),
        records=tuple(_record(study, *row) for row in each),
        folded=True,
    )  # fmt: skip


def _shown(interval: Interval | None) -> str:
    return numbers.MISSING if interval is None else str(interval)


def _record(study: Study, a: Group, b: Group, what: str, difference: Difference) -> Record:
    ends = chain.from_iterable(
        (None, None) if interval is None else (interval.low, interval.high)
        for interval in (difference.examples, difference.seeds)
    )
    names = ("examples_low", "examples_high", "seeds_low", "seeds_high")
    return {
        "method": a.label,
        "minus": b.label,
        "in": what,
        "difference": difference.mean,
        **dict(zip(names, ends, strict=True)),
        "common_seeds": difference.common,
        "verdict": difference.verdict,
        "subject": study.subject.words,
    }
