"""Tables 1 to 4 in the paper's form: its numbers, ours beside them, and commands for gaps.

Shapes: S seeds of a method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.commands import fill
from mtl_bert.analysis.document import Block, Column, Commands, Record, Table, numeric, table
from mtl_bert.analysis.numbers import Floats
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
    """A row: published, run, or both; ``mark`` has the numbers of its footnotes."""

    label: str
    row: paper.PaperRow | None
    group: Group | None
    mark: str = ""

    def record(self, whats: Sequence[str], rr: Group | None, printed_rr: float) -> Record:
        """Our numbers over seeds, the paper's, and how ours differ.

        Args:
            whats: tasks, or the score.
            rr: round-robin's runs.
            printed_rr: the paper's minutes of round-robin.
        """
        row, group = self.row, self.group
        found: Record = {
            "method": self.label,
            "experiment": row and row.experiment,
            "label": row and ("inferred" if row.inferred else "printed"),
            "n": group.n if group else 0,
            "seeds": " ".join(map(str, group.seeds)) if group else "",
            "_label": f"{self.label}{self.mark}",
        }
        for what in whats:
            printed = row and (row.score if what == SCORE else row.tasks.get(what))
            found |= {
                f"{what}_paper": printed,
                what: group and group.values(what),
                f"{what}_difference": group and printed and group.mean(what) - printed,
            }
        # What another device took says nothing about the method.
        there = group and rr and one_device(group, rr)
        own, base = (float(g.minutes.mean()) if g and there else None for g in (group, rr))
        return found | {
            "minutes_paper": row and row.minutes,
            "minutes": group and group.minutes,
            "minutes_to_rr_paper": row.minutes / printed_rr if row and printed_rr else None,
            "minutes_to_rr": own / base if own is not None and base else None,
            "_extra": None if own is None or base is None else own - base,
        }


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


def _best(records: Sequence[Record], whats: Sequence[str]) -> set[tuple[int, str]]:
    """What is bold: places of records, and columns."""
    places = {what: best_of([record[what] for record in records]) for what in whats}
    return {(place, what) for what, place in places.items() if place is not None}


def dataset_table(study: Study) -> list[Block]:
    """Table 1: sizes, and what a round-robin epoch uses of them."""
    rr = row_of(study.main, paper.row(2, "rr")) or row_of(study.single, paper.row(3, "rr"))
    records = []
    for task in study.tasks:
        printed, sizes = paper.SIZES.get(task), study.setting["sizes"].get(task, {})
        ours = {"train": sizes.get("train"), "dev": sizes.get("dev"), "used": _used(rr, task)}
        record: Record = {"task": task}
        for name, value in ours.items():
            record |= {f"{name}_paper": getattr(printed, name, None), name: value}
        records.append(record | {"test_paper": getattr(printed, "test", None)})

    def both(name: str) -> dict[str, str]:
        return {f"{name}_paper": "paper", name: _ours(study)}

    found = table(
        f"{study.slug}-table1",
        "Table 1: data sets and what round-robin uses of them",
        study.subject,
        (
            Column("data set", numeric=False, key="task"),
            *numeric(both("train"), group="training examples"),
            *numeric(both("dev"), group="dev examples"),
            *numeric({"test_paper": "paper"}, group="test examples"),  # ours are not measured
            *numeric(both("used"), "{:.1f} %".format, "used in an RR epoch"),
        ),
        records,
        caption=_joined(
            "Ours as counted by the runs; utilisation is of the first epoch of a round-robin run.",
            study.subject.warning,
        ),
    )
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
    caption = (
        f"Best epoch on the dev sets, of {study.main_epochs or '?'} epochs"
        f" ({paper.EPOCHS} in the paper). {OURS}"
    )
    name = f"table{number}"
    found = _scores(study, name, f"Table {number}: {heading}", lines, caption, number)
    return [found, *_missing(study, lines, study.main_epochs or paper.EPOCHS)]


def methods_table(study: Study) -> Table:
    """Metrics, score and time of all methods, with nothing of the paper's beside them."""
    lines = [Line(group.label, None, group) for group in study.main]
    caption = "Best epoch on the dev sets; mean ± standard deviation over n seeds."
    return _scores(study, "methods", "The methods beside each other", lines, caption)


def _scores(
    study: Study, name: str, heading: str, lines: Sequence[Line], caption: str, number: int = 0
) -> Table:
    """Metrics, score and time of methods; beside the paper's where there is its table's number."""
    whats = [*study.tasks, SCORE]
    records = _records(lines, study.main, whats, number or 2)
    metrics = numeric({what: _heading(study, what) for what in whats}, numbers.metric)
    minutes, ratios = {"minutes": _ours(study)}, {"minutes_to_rr": "÷ RR"}
    if number:
        metrics = [column for what in whats for column in _compared(study, what)]
        minutes = {"minutes_paper": "paper", **minutes}
        ratios = {"minutes_to_rr_paper": "paper ÷ RR", "minutes_to_rr": "ours ÷ RR"}
    group = "minutes per epoch"
    shown = (
        Column("method", numeric=False, key="_label"), *metrics,
        *numeric(minutes, numbers.minutes, group), *numeric(ratios, numbers.ratio, group),
        *numeric(["n"]),
    )  # fmt: skip
    return table(
        f"{study.slug}-{name}",
        heading,
        study.subject,
        shown,
        records,
        bold=_best(records, whats),
        caption=_joined(
            caption, _times_note(lines), BOLD_RULE, study.subject.warning if number else ""
        ),
        notes=footnotes(number),
    )


def _records(
    lines: Sequence[Line], groups: Sequence[Group], whats: Sequence[str], number: int
) -> list[Record]:
    printed = paper.row(number, "rr")
    rr = row_of(groups, printed)
    return [line.record(whats, rr, printed.minutes) for line in lines]


def _compared(study: Study, what: str) -> list[Column]:
    """The paper's number, ours and the difference."""
    group = _heading(study, what)
    both = numeric({f"{what}_paper": "paper", what: _ours(study)}, numbers.metric, group)
    return [*both, *numeric({f"{what}_difference": "Δ"}, numbers.change, group)]


def first_epoch_table(study: Study) -> list[Block]:
    """Table 3: paraphrase accuracy after one epoch, and the time beyond round-robin's."""
    lines = lines_of(study.single, 3)
    task = paper.PARAPHRASE
    if task not in study.tasks:
        return []
    records = _records(lines, study.single, [task], 3)
    for record in records:  # the paper prints the minutes beyond round-robin's
        record |= {"extra_minutes_paper": record.pop("minutes_paper")}
        record |= {"extra_minutes": record.pop("_extra")}
        del record["minutes_to_rr_paper"], record["minutes"]
    extra = {"extra_minutes_paper": "paper", "extra_minutes": _ours(study)}
    found = table(
        f"{study.slug}-table3",
        "Table 3: paraphrase after one epoch, and what ARRP's second phase costs",
        study.subject,
        (
            Column("method", numeric=False, key="_label"), *_compared(study, task),
            *numeric(extra, numbers.minutes, "additional minutes per epoch"),
            *numeric({"minutes_to_rr": "time ÷ RR"}, numbers.ratio), *numeric(["n"]),
        ),
        records,
        bold=_best(records, [task]),
        caption=_joined(
            f"Runs of one epoch. {OURS} Additional minutes are beyond round-robin's of one epoch.",
            _times_note(lines),
            BOLD_RULE,
            study.subject.warning,
        ),
        notes=footnotes(3),
    )  # fmt: skip
    return [found, *_missing(study, lines, 1)]


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
