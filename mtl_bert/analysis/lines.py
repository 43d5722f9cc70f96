"""The rows of Tables 2 to 4: the paper's, ours beside them, and what is worked out from both.

Shapes: S seeds of a method.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.document import Record
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.studies import SCORE, Group, Study, one_device, row_of

BOLD_RULE = (
    "Bold: the highest mean of a column, where it exceeds every other row's mean by more than the "
    "larger of the two standard deviations. No bold in a column where some row has one seed only: "
    "one seed has no spread."
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


def lines_of(groups: Sequence[Group], table: int) -> list[Line]:
    """A table's published rows, with the runs that there are."""
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


def comparison(line: Line, what: str) -> tuple[str, str, str]:
    """The paper's number, ours and the difference."""
    printed, ours = line.printed(what), line.ours(what)
    difference = None if printed is None or ours is None else float(ours.mean()) - printed
    shown = numbers.MISSING if ours is None else numbers.with_spread(ours)
    return numbers.metric(printed), shown, numbers.change(difference)


def identity(line: Line, study: Study) -> dict[str, str | int | float | None]:
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


def record_of(line: Line, what: str) -> Record:
    """A metric's numbers with all digits."""
    printed, ours = line.printed(what), line.ours(what)
    mean = None if ours is None else float(ours.mean())
    return {
        f"{what}_paper": printed,
        f"{what}_mean": mean,
        f"{what}_sd": None if ours is None else spread(ours),
        f"{what}_difference": None if mean is None or printed is None else mean - printed,
    }


def base_of(group: Group | None, rr: Group | None) -> float | None:
    """Round-robin's minutes per epoch; None where they are of another device than a group's."""
    if group is None or rr is None or not one_device(group, rr):
        return None
    return float(rr.minutes.mean())


@dataclass(frozen=True)
class Times:
    """Minutes per epoch: for the table, and with all digits."""

    texts: tuple[str, ...]
    record: Record


def times_of(line: Line, rr: Group | None, printed_rr: float) -> Times:
    """Minutes per epoch, the paper's and ours, and as ratios to round-robin's."""
    printed = line.row.minutes if line.row else None
    printed_ratio = None if printed is None else printed / printed_rr
    ours = line.group.minutes if line.group else None
    base = base_of(line.group, rr)
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
    return Times(texts, record)


def best_of(columns: Sequence[Floats | None]) -> int | None:
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


def footnotes_of(lines: Sequence[Line]) -> tuple[tuple[str, ...], list[str]]:
    """All footnotes, each once, and each line's marks."""
    notes: dict[str, int] = {}
    marks = []
    for line in lines:
        own = line.row.footnotes if line.row else ()
        for note in own:
            notes.setdefault(note, len(notes) + 1)
        marks.append("".join(f" [{notes[note]}]" for note in own))
    return tuple(notes), marks
