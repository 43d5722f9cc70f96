"""Tables 1 to 4 in the paper's form: its numbers, ours beside them, and commands for gaps.

Shapes: S seeds of a method.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_bert.reporting import numbers, paper
from mtl_bert.reporting.commands import fill
from mtl_bert.reporting.document import Block, Cell, Column, Commands, Record, Table
from mtl_bert.reporting.statistics import Floats, spread
from mtl_bert.reporting.studies import SCORE, Group, Study, row_of

BOLD_RULE = (
    "Bold: the highest mean of a column, where it exceeds every other row's mean by more than the "
    "larger of the two standard deviations. No bold in a column where some row has one seed only: "
    "one seed has no spread."
)
OURS = "Ours: mean ± standard deviation over n seeds; Δ is ours minus the paper's."
TIMES = (
    "Minutes per epoch are comparable only as ratios to round-robin's (÷ RR) on the same machine: "
    "the paper's are of a T4."
)


@dataclass(frozen=True, eq=False)
class Line:
    """A row: published, run, or both."""

    label: str
    row: paper.PaperRow | None
    group: Group | None

    def printed(self, what: str) -> float | None:
        """The paper's number."""
        if self.row is None:
            return None
        return self.row.score if what == SCORE else self.row.tasks.get(what)

    def ours(self, what: str) -> Floats | None:
        """Ours, of each seed: [S]."""
        return None if self.group is None else self.group.values(what)


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
    lines = _lines(study.main, number) + [Line(g.label, None, g) for g in others]
    rr = row_of(study.main, paper.row(number, "rr"))
    whats = [*study.tasks, SCORE]
    best = {what: _best([line.ours(what) for line in lines]) for what in whats}
    notes, marks = _footnotes(lines)
    ours = _ours(study)
    cells, records = [], []
    for place, line in enumerate(lines):
        row = [Cell(f"{line.label}{marks[place]}")]
        record: dict[str, str | int | float | None] = _identity(line, study)
        for what in whats:
            texts = _comparison(line, what)
            row += [Cell(texts[0]), Cell(texts[1], bold=best[what] == place), Cell(texts[2])]
            record.update(_record(line, what))
        times = _times(line, rr, paper.row(number, "rr").minutes)
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
    lines = _lines(study.single, 3)
    rr = row_of(study.single, paper.row(3, "rr"))
    task = paper.PARAPHRASE
    if task not in study.tasks:
        return []
    best = _best([line.ours(task) for line in lines])
    notes, marks = _footnotes(lines)
    ours = _ours(study)
    cells, records = [], []
    for place, line in enumerate(lines):
        assert line.row is not None
        texts = _comparison(line, task)
        own = None if line.group is None else float(line.group.minutes.mean())
        base = None if rr is None else float(rr.minutes.mean())
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
                **_identity(line, study), **_record(line, task),
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


def unpublished(study: Study) -> list[Group]:
    """Methods beside the paper's: no row of it is theirs."""
    published = {id(row_of(study.main, row)) for row in paper.ROWS if row.table != 3}
    return [group for group in study.main if id(group) not in published]


def _lines(groups: Sequence[Group], table: int) -> list[Line]:
    lines = []
    for row in paper.rows(table):
        group = row_of(groups, row)
        scaled = group is not None and group.method.B_scale != 1
        label = row.label
        if group is not None and scaled:
            label = label.replace(f"B={group.method.B:,}", _drawn(group))
        lines.append(Line(label, row, group))
    return lines


def _drawn(group: Group) -> str:
    """What of the printed B was really drawn, where data are smaller than the paper's."""
    method = group.method
    return f"B={method.B:,} × {method.B_scale:g} = {method.drawn:,}"


def _heading(study: Study, what: str) -> str:
    if what == SCORE:
        return "score"
    return f"{paper.TITLES.get(what, what)} ({what}) {study.metrics[what]}"


def _ours(study: Study) -> str:
    """What our columns are called: made-up numbers say so themselves."""
    return "ours (made-up text)" if study.subject.synthetic else "ours"


def _comparison(line: Line, what: str) -> tuple[str, str, str]:
    """The paper's number, ours and the difference."""
    printed, ours = line.printed(what), line.ours(what)
    difference = None if printed is None or ours is None else float(ours.mean()) - printed
    shown = numbers.MISSING if ours is None else numbers.with_spread(ours)
    return numbers.metric(printed), shown, numbers.change(difference)


def _identity(line: Line, study: Study) -> dict[str, str | int | float | None]:
    """What a line of a CSV file is about, in full: it may be read without its title."""
    group = line.group
    return {
        "method": line.label,
        "experiment": line.row.experiment if line.row else None,
        "label": None if not line.row else "inferred" if line.row.inferred else "printed",
        "subject": study.subject.words,
        "n": len(group.runs) if group else 0,
        "seeds": " ".join(map(str, group.seeds)) if group else "",
    }


def _record(line: Line, what: str) -> Record:
    printed, ours = line.printed(what), line.ours(what)
    mean = None if ours is None else float(ours.mean())
    return {
        f"{what}_paper": printed,
        f"{what}_mean": mean,
        f"{what}_sd": None if ours is None else spread(ours),
        f"{what}_difference": None if mean is None or printed is None else mean - printed,
    }


@dataclass(frozen=True)
class _Times:
    texts: tuple[str, ...]
    record: Record


def _times(line: Line, rr: Group | None, printed_rr: float) -> _Times:
    """Minutes per epoch, the paper's and ours, and as ratios to round-robin's."""
    printed = line.row.minutes if line.row else None
    printed_ratio = None if printed is None else printed / printed_rr
    ours = line.group.minutes if line.group else None
    base = None if rr is None else float(rr.minutes.mean())
    ratio = None if ours is None or not base else float(ours.mean()) / base
    texts = (
        numbers.minutes(printed),
        numbers.MISSING if ours is None else numbers.minutes_with_spread(ours),
        numbers.ratio(printed_ratio),
        numbers.ratio(ratio),
    )
    record = {
        "minutes_paper": printed,
        "minutes_mean": None if ours is None else float(ours.mean()),
        "minutes_sd": None if ours is None else spread(ours),
        "minutes_to_rr_paper": printed_ratio,
        "minutes_to_rr": ratio,
    }
    return _Times(texts, record)


def _best(columns: Sequence[Floats | None]) -> int | None:
    """The place of the best row by :data:`BOLD_RULE`, if there is one."""
    known = {place: values for place, values in enumerate(columns) if values is not None}
    if len(known) < 2 or any(len(values) < 2 for values in known.values()):
        return None
    mean: Callable[[int], float] = lambda place: float(known[place].mean())  # noqa: E731
    first = max(known, key=mean)
    sd = {place: float(np.std(values, ddof=1)) for place, values in known.items()}
    clear = all(
        mean(first) - mean(place) > max(sd[first], sd[place]) for place in known if place != first
    )
    return first if clear else None


def _footnotes(lines: Sequence[Line]) -> tuple[tuple[str, ...], list[str]]:
    """All footnotes, each once, and each line's marks."""
    notes: dict[str, int] = {}
    marks = []
    for line in lines:
        own = line.row.footnotes if line.row else ()
        for note in own:
            notes.setdefault(note, len(notes) + 1)
        marks.append("".join(f" [{notes[note]}]" for note in own))
    return tuple(notes), marks


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
    """How times may be compared, and that they may not where devices differ."""
    devices = sorted({device for group in groups if group for device in group.devices})
    if len(devices) < 2:
        return TIMES
    return f"{TIMES} These runs are of several devices, so not even that: {'; '.join(devices)}."


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
