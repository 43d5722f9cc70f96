"""Tables 1 to 4 in the paper's form: its numbers, ours beside them, and commands for gaps.

Shapes: S seeds of a method.
"""

from collections.abc import Sequence

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.commands import fill
from mtl_bert.analysis.document import Block, Cell, Column, Commands, Table
from mtl_bert.analysis.lines import (
    BOLD_RULE,
    Line,
    base_of,
    best_of,
    comparison,
    footnotes_of,
    identity,
    lines_of,
    record_of,
    times_of,
)
from mtl_bert.analysis.studies import SCORE, Group, Study, row_of

OURS = "Ours: mean ± standard deviation over n seeds; Δ is ours minus the paper's."
TIMES = (
    "Minutes per epoch are comparable only as ratios to round-robin's (÷ RR) on the same machine: "
    "the paper's are of a T4."
)


def dataset_table(study: Study) -> list[Block]:
    """Table 1: sizes, and what a round-robin epoch uses of them."""
    rr = row_of(study.main, paper.row(2, "rr")) or row_of(study.single, paper.row(3, "rr"))
    cells, records = [], []
    for task in study.tasks:
        printed = paper.SIZES.get(task)
        sizes = study.setting["sizes"].get(task, {})
        used = _used(rr, task)
        values: tuple[tuple[float | None, float | None], ...] = (
            (printed.train if printed else None, sizes.get("train")),
            (printed.dev if printed else None, sizes.get("dev")),
            (printed.used if printed else None, used),
        )
        texts = [_count(value) for pair in values[:2] for value in pair]
        shares = [numbers.MISSING if v is None else f"{v:.1f} %" for v in values[2]]
        test = _count(printed.test if printed else None)
        cells.append((Cell(task), *(Cell(text) for text in (*texts, test, *shares))))
        names = ("train_paper", "train", "dev_paper", "dev", "used_paper", "used")
        flat = [value for pair in values for value in pair]
        records.append(
            {"task": task, **dict(zip(names, flat, strict=True)),
             "test_paper": printed.test if printed else None, "subject": study.subject.words}
        )  # fmt: skip
    groups = ("training examples", "dev examples", "used in an RR epoch")
    columns = [Column(h, g) for g in groups for h in ("paper", _ours(study))]
    columns.insert(4, Column("paper", "test examples"))  # nothing is measured on ours
    table = Table(
        name=f"{study.slug}-table1",
        heading="Table 1: data sets and what round-robin uses of them",
        subject=study.subject,
        columns=(Column("data set", numeric=False), *columns),
        rows=tuple(cells),
        caption=_joined(
            "Ours as counted by the runs; utilisation is of the first epoch of a round-robin run.",
            study.subject.warning,
        ),
        records=tuple(records),
    )
    if rr is not None:
        return [table]
    command = fill(study, 2, "rr", study.main_epochs or paper.EPOCHS)
    return [table, _gaps([("round-robin", command)])]


def _used(rr: Group | None, task: str) -> float | None:
    """Per cent of a training set that the first round-robin epoch used."""
    if rr is None or not rr.runs[0].results.epochs:
        return None
    seen = rr.runs[0].results.epochs[0].utilisation.get(task)
    return None if seen is None else 100 * seen.fraction


def _count(value: float | None) -> str:
    return numbers.MISSING if value is None else f"{value:,.0f}"


def score_table(study: Study, number: int, heading: str, others: Sequence[Group]) -> list[Block]:
    """Table 2 or 4: metrics, score and time of methods, the paper's and others."""
    lines = lines_of(study.main, number) + [Line(g.label, None, g) for g in others]
    rr = row_of(study.main, paper.row(number, "rr"))
    whats = [*study.tasks, SCORE]
    best = {what: best_of([line.ours(what) for line in lines]) for what in whats}
    notes, marks = footnotes_of(lines)
    ours = _ours(study)
    cells, records = [], []
    for place, line in enumerate(lines):
        row = [Cell(f"{line.label}{marks[place]}")]
        record: dict[str, str | int | float | None] = identity(line, study)
        for what in whats:
            texts = comparison(line, what)
            row += [Cell(texts[0]), Cell(texts[1], bold=best[what] == place), Cell(texts[2])]
            record.update(record_of(line, what))
        times = times_of(line, rr, paper.row(number, "rr").minutes)
        row += [Cell(text) for text in times.texts]
        records.append({**record, **times.record})
        cells.append((*row, Cell(str(len(line.group.runs)) if line.group else "0")))
    table = Table(
        name=f"{study.slug}-table{number}",
        heading=f"Table {number}: {heading}",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            *(Column(h, _heading(study, w)) for w in whats for h in ("paper", ours, "Δ")),
            *(Column(h, "minutes per epoch") for h in ("paper", ours, "paper ÷ RR", "ours ÷ RR")),
            Column("n"),
        ),
        rows=tuple(cells),
        caption=_joined(
            f"Best epoch on the dev sets, of {study.main_epochs or '?'} epochs"
            f" ({paper.EPOCHS} in the paper).",
            OURS,
            _times_note([line.group for line in lines]),
            BOLD_RULE,
            study.subject.warning,
        ),
        notes=notes,
        records=tuple(records),
    )
    return [table, *_missing(study, lines, study.main_epochs or paper.EPOCHS)]


def first_epoch_table(study: Study) -> list[Block]:
    """Table 3: paraphrase accuracy after one epoch, and the time beyond round-robin's."""
    lines = lines_of(study.single, 3)
    rr = row_of(study.single, paper.row(3, "rr"))
    task = paper.PARAPHRASE
    if task not in study.tasks:
        return []
    best = best_of([line.ours(task) for line in lines])
    notes, marks = footnotes_of(lines)
    ours = _ours(study)
    cells, records = [], []
    for place, line in enumerate(lines):
        assert line.row is not None
        texts = comparison(line, task)
        own = None if line.group is None else float(line.group.minutes.mean())
        base = base_of(line.group, rr)
        extra = None if own is None or base is None else own - base
        against = None if own is None or not base else own / base
        seeds = len(line.group.runs) if line.group else 0
        cells.append(
            (
                Cell(f"{line.label}{marks[place]}"),
                Cell(texts[0]), Cell(texts[1], bold=best == place), Cell(texts[2]),
                Cell(numbers.minutes(line.row.minutes)), Cell(numbers.minutes(extra)),
                Cell(numbers.ratio(against)), Cell(str(seeds)),
            )
        )  # fmt: skip
        records.append(
            {
                **identity(line, study), **record_of(line, task),
                "extra_minutes_paper": line.row.minutes, "extra_minutes": extra,
                "minutes_to_rr": against,
            }
        )  # fmt: skip
    table = Table(
        name=f"{study.slug}-table3",
        heading="Table 3: paraphrase after one epoch, and what ARRP's second phase costs",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            *(Column(h, _heading(study, task)) for h in ("paper", ours, "Δ")),
            *(Column(h, "additional minutes per epoch") for h in ("paper", ours)),
            Column("time ÷ RR"),
            Column("n"),
        ),
        rows=tuple(cells),
        caption=_joined(
            f"Runs of one epoch. {OURS} Additional minutes are beyond round-robin's of one epoch.",
            _times_note([line.group for line in lines]),
            BOLD_RULE,
            study.subject.warning,
        ),
        notes=notes,
        records=tuple(records),
    )
    return [table, *_missing(study, lines, 1)]


def methods_table(study: Study) -> Table:
    """Metrics, score and time of all methods, with nothing of the paper's beside them."""
    lines = [Line(group.label, None, group) for group in study.main]
    rr = row_of(study.main, paper.row(2, "rr"))
    whats = [*study.tasks, SCORE]
    best = {what: best_of([line.ours(what) for line in lines]) for what in whats}
    cells, records = [], []
    for place, line in enumerate(lines):
        shown = [Cell(comparison(line, w)[1], bold=best[w] == place) for w in whats]
        times = times_of(line, rr, paper.row(2, "rr").minutes)
        _, minutes, _, ratio = times.texts
        record = identity(line, study)
        for what in whats:
            record |= record_of(line, what)
        cells.append((
            Cell(line.label), *shown, Cell(minutes), Cell(ratio), Cell(str(record["n"])),
        ))  # fmt: skip
        records.append({**record, **times.record})
    return Table(
        name=f"{study.slug}-methods",
        heading="The methods beside each other",
        subject=study.subject,
        columns=(
            Column("method", numeric=False),
            *(Column(_heading(study, what)) for what in whats),
            *(Column(h, "minutes per epoch") for h in (_ours(study), "÷ RR")),
            Column("n"),
        ),
        rows=tuple(cells),
        caption=_joined(
            "Best epoch on the dev sets; mean ± standard deviation over n seeds.",
            _times_note([line.group for line in lines]),
            BOLD_RULE,
        ),
        records=tuple(records),
    )


def is_the_papers(study: Study) -> bool:
    """Whether a trained row of the paper was run, other than round-robin, which all have."""
    rows = [(study.main, row) for number in (2, 4) for row in paper.rows(number)]
    rows += [(study.single, row) for row in paper.rows(3)]
    trained = [row_of(groups, row) for groups, row in rows if row.recipe.sampler != "rr"]
    return any(group is not None and group.trained for group in trained)


def unpublished(study: Study) -> list[Group]:
    """Methods beside the paper's: no row of it is theirs."""
    published = {id(row_of(study.main, row)) for row in paper.ROWS if row.table != 3}
    return [group for group in study.main if id(group) not in published]


def _heading(study: Study, what: str) -> str:
    if what == SCORE:
        return "score"
    return f"{paper.TITLES.get(what, what)} ({what}) {study.metrics[what]}"


def _ours(study: Study) -> str:
    """What our columns are called: made-up numbers say so themselves."""
    return "ours (made-up text)" if study.subject.synthetic else "ours"


def _missing(study: Study, lines: Sequence[Line], epochs: int) -> list[Block]:
    """The commands for rows that nobody has run."""
    gaps = [
        (line.label, fill(study, line.row.table, line.row.experiment, epochs))
        for line in lines
        if line.row is not None and line.group is None
    ]
    return [_gaps(gaps)] if gaps else []


def _gaps(items: Sequence[tuple[str, str]]) -> Commands:
    lead = "Rows without a run, and the command that makes it (DIR: where your files lie):"
    return Commands(lead, tuple(items))


def _times_note(groups: Sequence[Group | None]) -> str:
    """How times may be compared, and why some are not."""
    devices = sorted({device for group in groups if group for device in group.devices})
    if len(devices) < 2:
        return TIMES
    return (
        f"{TIMES} These runs are of several devices ({'; '.join(devices)}); where a row's is not "
        "round-robin's, there is no ratio."
    )


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
