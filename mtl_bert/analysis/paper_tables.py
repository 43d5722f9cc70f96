"""Tables 1 to 4 in the paper's form: its numbers, ours beside them, and commands for gaps.

Shapes: S seeds of a method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.commands import fill
from mtl_bert.analysis.document import Block, Cell, Column, Commands, Table, numeric, table, words
from mtl_bert.analysis.numbers import Floats, over_seeds
from mtl_bert.analysis.studies import SCORE, Group, Study, one_device, row_of

OURS = "Ours: mean ± standard deviation over n seeds; Δ is ours minus the paper's."
TIMES = (
    "Minutes per epoch are comparable only as ratios to round-robin's (÷ RR) on the same machine: "
    "the paper's are of a T4."
)
BOLD_RULE = (
    "Bold: the highest mean of a column, where it exceeds every other row's mean by more than the "
    "larger of the two standard deviations. No bold in a column where some row has one seed only: "
    "one seed has no spread."
)


@dataclass(frozen=True, eq=False)
class Line:
    """A row: published, run, or both.

    Attributes:
        label: the method.
        row: the paper's.
        group: ours.
        mark: numbers of its footnotes, behind the label.
    """

    label: str
    row: paper.PaperRow | None
    group: Group | None
    mark: str = ""

    def printed(self, what: str) -> float | None:
        """The paper's number."""
        if self.row is None:
            return None
        return self.row.score if what == SCORE else self.row.tasks.get(what)

    def ours(self, what: str) -> Floats | None:
        """Ours, of each seed: [S]."""
        return None if self.group is None else self.group.values(what)

    def difference(self, what: str) -> float | None:
        """Ours minus the paper's."""
        printed = self.printed(what)
        return None if printed is None or self.group is None else self.group.mean(what) - printed

    def cells(self, what: str, *, bold: bool) -> tuple[str | Cell, ...]:
        """The paper's number, ours and the difference."""
        ours = Cell(over_seeds(self.ours(what)), bold=bold)
        return numbers.metric(self.printed(what)), ours, numbers.change(self.difference(what))

    @property
    def seeds(self) -> str:
        """How many."""
        return str(self.group.n if self.group else 0)

    def record(self, study: Study, whats: Sequence[str]) -> dict[str, str | int | float | None]:
        """What it is about, in full, and its metrics with all digits."""
        found: dict[str, str | int | float | None] = {
            "method": self.label,
            "experiment": self.row.experiment if self.row else None,
            "label": None if not self.row else "inferred" if self.row.inferred else "printed",
            "subject": study.subject.words,
            "n": self.group.n if self.group else 0,
            "seeds": " ".join(map(str, self.group.seeds)) if self.group else "",
        }
        for what in whats:
            found[f"{what}_paper"] = self.printed(what)
            found |= numbers.summary(what, self.ours(what), "_mean")
            found[f"{what}_difference"] = self.difference(what)
        return found

    def base(self, rr: Group | None) -> float | None:
        """Round-robin's minutes per epoch; None where they are of another device than ours."""
        there = self.group is not None and rr is not None and one_device(self.group, rr)
        return float(rr.minutes.mean()) if there and rr is not None else None

    def times(
        self, rr: Group | None, printed_rr: float
    ) -> tuple[tuple[str, ...], Mapping[str, float | None]]:
        """Minutes per epoch, the paper's and ours, and as ratios to round-robin's; the same raw."""
        printed = self.row.minutes if self.row else None
        ours = self.group.minutes if self.group else None
        printed_ratio = None if printed is None else printed / printed_rr
        base = self.base(rr)
        ratio = None if ours is None or not base else float(ours.mean()) / base
        texts = (
            numbers.minutes(printed), over_seeds(ours, numbers.minutes),
            numbers.ratio(printed_ratio), numbers.ratio(ratio),
        )  # fmt: skip
        raw = {"minutes_paper": printed, **numbers.summary("minutes", ours, "_mean")}
        return texts, {**raw, "minutes_to_rr_paper": printed_ratio, "minutes_to_rr": ratio}


def lines_of(groups: Sequence[Group], number: int) -> list[Line]:
    """A table's published rows, with the runs that there are and marks for :func:`footnotes`."""
    notes = footnotes(number)
    lines = []
    for row in paper.rows(number):
        group, label = row_of(groups, row), row.label
        if group is not None and group.method.B_scale != 1:  # what of B was really drawn
            printed = f"B={group.method.B:,}"
            scaled = f"{printed} × {group.method.B_scale:g} = {group.method.drawn:,}"
            label = label.replace(printed, scaled)
        mark = "".join(f" [{notes.index(note) + 1}]" for note in row.footnotes)
        lines.append(Line(label, row, group, mark))
    return lines


def footnotes(number: int) -> tuple[str, ...]:
    """All of a table's, each once."""
    return tuple(dict.fromkeys(note for row in paper.rows(number) for note in row.footnotes))


def best_of(columns: Sequence[Floats | None]) -> int | None:
    """The place of the best row by :data:`BOLD_RULE`, if there is one."""
    known = {place: values for place, values in enumerate(columns) if values is not None}
    if len(known) < 2 or any(len(values) < 2 for values in known.values()):
        return None
    mean = {place: float(values.mean()) for place, values in known.items()}
    sd = {place: float(np.std(values, ddof=1)) for place, values in known.items()}
    first = max(mean, key=lambda place: mean[place])
    others = [place for place in known if place != first]
    clear = all(mean[first] - mean[place] > max(sd[first], sd[place]) for place in others)
    return first if clear else None


def _best(lines: Sequence[Line], whats: Sequence[str]) -> dict[str, Line | None]:
    """The line that is bold in each column."""
    places = {what: best_of([line.ours(what) for line in lines]) for what in whats}
    return {what: None if place is None else lines[place] for what, place in places.items()}


def dataset_table(study: Study) -> list[Block]:
    """Table 1: sizes, and what a round-robin epoch uses of them."""
    rr = row_of(study.main, paper.row(2, "rr")) or row_of(study.single, paper.row(3, "rr"))
    rows, records = [], []
    for task in study.tasks:
        printed, sizes = paper.SIZES.get(task), study.setting["sizes"].get(task, {})
        theirs = {name: getattr(printed, name, None) for name in ("train", "dev", "test", "used")}
        ours = {"train": sizes.get("train"), "dev": sizes.get("dev"), "used": _used(rr, task)}
        shares = (theirs["used"], ours["used"])
        rows.append((
            task, numbers.count(theirs["train"]), numbers.count(ours["train"]),
            numbers.count(theirs["dev"]), numbers.count(ours["dev"]),
            numbers.count(theirs["test"]),
            *(numbers.MISSING if share is None else f"{share:.1f} %" for share in shares),
        ))  # fmt: skip
        pairs = ((f"{k}_paper", theirs[k], k, ours[k]) for k in ours)
        record = {k: v for name, x, own, y in pairs for k, v in ((name, x), (own, y))}
        records.append({"task": task, **record, "test_paper": theirs["test"]})
    both = ("paper", _ours(study))
    found = table(
        f"{study.slug}-table1",
        "Table 1: data sets and what round-robin uses of them",
        study.subject,
        (
            *words("data set"), *numeric(*both, group="training examples"),
            *numeric(*both, group="dev examples"),
            Column("paper", "test examples"),  # nothing is measured on ours
            *numeric(*both, group="used in an RR epoch"),
        ),
        rows,
        caption=_joined(
            "Ours as counted by the runs; utilisation is of the first epoch of a round-robin run.",
            study.subject.warning,
        ),
        records=records,
    )  # fmt: skip
    if rr is not None:
        return [found]
    command = fill(study, 2, "rr", study.main_epochs or paper.EPOCHS)
    return [found, _gaps([("round-robin", command)])]


def _used(rr: Group | None, task: str) -> float | None:
    """Per cent of a training set that the first round-robin epoch used."""
    if rr is None or not rr.runs[0].results.epochs:
        return None
    seen = rr.runs[0].results.epochs[0].utilisation.get(task)
    return None if seen is None else 100 * seen.fraction


def score_table(study: Study, number: int, heading: str, others: Sequence[Group]) -> list[Block]:
    """Table 2 or 4: metrics, score and time of methods, the paper's and others."""
    lines = lines_of(study.main, number) + [Line(g.label, None, g) for g in others]
    printed_rr = paper.row(number, "rr")
    rr = row_of(study.main, printed_rr)
    whats = [*study.tasks, SCORE]
    best = _best(lines, whats)
    rows, records = [], []
    for line in lines:
        metrics = [cell for w in whats for cell in line.cells(w, bold=best[w] is line)]
        texts, times = line.times(rr, printed_rr.minutes)
        rows.append((f"{line.label}{line.mark}", *metrics, *texts, line.seeds))
        records.append({**line.record(study, whats), **times})
    ours = _ours(study)
    found = table(
        f"{study.slug}-table{number}",
        f"Table {number}: {heading}",
        study.subject,
        (
            *words("method"),
            *(c for w in whats for c in numeric("paper", ours, "Δ", group=_heading(study, w))),
            *numeric("paper", ours, "paper ÷ RR", "ours ÷ RR", group="minutes per epoch"),
            Column("n"),
        ),
        rows,
        caption=_joined(
            f"Best epoch on the dev sets, of {study.main_epochs or '?'} epochs"
            f" ({paper.EPOCHS} in the paper).",
            OURS,
            _times_note(lines),
            BOLD_RULE,
            study.subject.warning,
        ),
        notes=footnotes(number),
        records=records,
    )
    return [found, *_missing(study, lines, study.main_epochs or paper.EPOCHS)]


def first_epoch_table(study: Study) -> list[Block]:
    """Table 3: paraphrase accuracy after one epoch, and the time beyond round-robin's."""
    lines = lines_of(study.single, 3)
    rr = row_of(study.single, paper.row(3, "rr"))
    task = paper.PARAPHRASE
    if task not in study.tasks:
        return []
    best = _best(lines, [task])[task]
    rows, records = [], []
    for line in lines:
        assert line.row is not None
        own = None if line.group is None else float(line.group.minutes.mean())
        base = line.base(rr)
        extra = None if own is None or base is None else own - base
        against = None if own is None or not base else own / base
        rows.append((
            f"{line.label}{line.mark}", *line.cells(task, bold=best is line),
            numbers.minutes(line.row.minutes), numbers.minutes(extra), numbers.ratio(against),
            line.seeds,
        ))  # fmt: skip
        times = {"extra_minutes_paper": line.row.minutes, "extra_minutes": extra}
        records.append({**line.record(study, [task]), **times, "minutes_to_rr": against})
    ours = _ours(study)
    found = table(
        f"{study.slug}-table3",
        "Table 3: paraphrase after one epoch, and what ARRP's second phase costs",
        study.subject,
        (
            *words("method"),
            *numeric("paper", ours, "Δ", group=_heading(study, task)),
            *numeric("paper", ours, group="additional minutes per epoch"),
            *numeric("time ÷ RR", "n"),
        ),
        rows,
        caption=_joined(
            f"Runs of one epoch. {OURS} Additional minutes are beyond round-robin's of one epoch.",
            _times_note(lines),
            BOLD_RULE,
            study.subject.warning,
        ),
        notes=footnotes(3),
        records=records,
    )
    return [found, *_missing(study, lines, 1)]


def methods_table(study: Study) -> Table:
    """Metrics, score and time of all methods, with nothing of the paper's beside them."""
    lines = [Line(group.label, None, group) for group in study.main]
    printed_rr = paper.row(2, "rr")
    rr = row_of(study.main, printed_rr)
    whats = [*study.tasks, SCORE]
    best = _best(lines, whats)
    rows, records = [], []
    for line in lines:
        (_, minutes, _, ratio), times = line.times(rr, printed_rr.minutes)
        shown = [line.cells(what, bold=best[what] is line)[1] for what in whats]
        rows.append((line.label, *shown, minutes, ratio, line.seeds))
        records.append({**line.record(study, whats), **times})
    return table(
        f"{study.slug}-methods",
        "The methods beside each other",
        study.subject,
        (
            *words("method"),
            *numeric(*(_heading(study, what) for what in whats)),
            *numeric(_ours(study), "÷ RR", group="minutes per epoch"),
            Column("n"),
        ),
        rows,
        caption=_joined(
            "Best epoch on the dev sets; mean ± standard deviation over n seeds.",
            _times_note(lines),
            BOLD_RULE,
        ),
        records=records,
    )


def is_the_papers(study: Study) -> bool:
    """Whether a trained row of the paper was run, other than round-robin, which all have."""
    rows = [(study.main, row) for number in (2, 4) for row in paper.rows(number)]
    rows += [(study.single, row) for row in paper.rows(3)]
    trained = [row_of(groups, row) for groups, row in rows if row.recipe.sampler != "rr"]
    return any(group is not None and group.trained for group in trained)


def unpublished(study: Study) -> list[Group]:
    """Methods beside the paper's: no row of it is theirs."""
    published = [row_of(study.main, row) for row in paper.ROWS if row.table != 3]
    return [group for group in study.main if group not in published]


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


def _times_note(lines: Sequence[Line]) -> str:
    """How times may be compared, and why some are not."""
    devices = sorted({device for line in lines if line.group for device in line.group.devices})
    if len(devices) < 2:
        return TIMES
    return (
        f"{TIMES} These runs are of several devices ({'; '.join(devices)}); where a row's is not "
        "round-robin's, there is no ratio."
    )


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
