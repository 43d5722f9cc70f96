"""What the ratio of the training sets' sizes does: studies that differ in it alone, side by side.

Such studies come of ``data.imbalance``: the largest training set stays what it is, the others are
cut down. The paper says that its method pays where tasks are of very unequal size, and shows one
ratio.

Shapes: S seeds of a method.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd

from mtl_bert.analysis import numbers
from mtl_bert.analysis.canvas import POINTS, SPREAD, Looks, lines_figure
from mtl_bert.analysis.comparison import RULE, Comparison, Difference
from mtl_bert.analysis.curves import trends
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Figure,
    Record,
    Section,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.old_statistics import seed_interval
from mtl_bert.analysis.studies import SCORE, Group, Study, Subject

WORST = "worst task"
QUESTION = "Does ARRP's advantage appear where tasks are of very unequal size?"


@dataclass(frozen=True, eq=False)
class Series:
    """Studies that differ in nothing but how much of the smaller training sets there is.

    Attributes:
        studies: in rising order of their ratios.
        number: from 0, among the series of a report.
    """

    studies: tuple[Study, ...]
    number: int = 0

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """The largest training set by each of the others, of each study."""
        return tuple(map(ratio_of, self.studies))

    def heads(self, what: str) -> dict[str, str]:
        """A column for each ratio: key -> heading."""
        return {f"{what} {ratio:g}": f"{ratio:g} : 1" for ratio in self.ratios}

    @property
    def slug(self) -> str:
        """For file names and anchors."""
        return f"imbalance{self.number + 1 if self.number else ''}"

    @property
    def subject(self) -> Subject:
        """What the numbers are about: the most unequal study's, with the ratios."""
        return replace(self.studies[-1].subject, ratios=self.ratios)

    @cached_property
    def methods(self) -> dict[Method, dict[int, Group]]:
        """A method, whatever its B, -> the place of a study -> its repetitions there.

        Of several B the largest stands for the method.
        """
        found: defaultdict[Method, dict[int, Group]] = defaultdict(dict)
        for place, study in enumerate(self.studies):
            trained = (group for group in study.main if group.trained)
            for group in sorted(trained, key=lambda group: group.method.drawn or 0):
                found[_along(group.method)][place] = group
        return dict(sorted(found.items(), key=lambda item: item[0].label))


def ratio_of(study: Study) -> float:
    """The largest training set by each of the others, as was asked for."""
    return float(study.setting["data"]["imbalance"])


def _along(method: Method) -> Method:
    """A method as it is called at every ratio: B may follow the sizes."""
    if method.B is None:
        return method
    rest = ", ".join(part for part in (method.rest, "B given") if part)
    return replace(method, B=None, B_scale=1.0, rest=rest)


def series_of(studies: Sequence[Study]) -> list[Series]:
    """Studies put together that differ in ``data.imbalance`` alone, two values at least."""
    alike: defaultdict[str, list[Study]] = defaultdict(list)
    for study in studies:
        setting = dict(study.setting)
        dev = {task: sizes.get("dev") for task, sizes in setting.pop("sizes").items()}
        data = {key: value for key, value in setting["data"].items() if key != "imbalance"}
        if "imbalance" in setting["data"] and study.main_epochs is not None:
            same = {**setting, "data": data, "dev": dev, "epochs": study.main_epochs}
            alike[json.dumps(same, sort_keys=True)].append(study)
    several = [tuple(sorted(members, key=ratio_of)) for members in alike.values() if members[1:]]
    return [Series(members, number) for number, members in enumerate(several)]


def worst(study: Study, group: Group) -> Floats:
    """The lowest metric over tasks, each mapped to 0..1: [S]."""
    units = [study.unit(task, group.values(task)) for task in study.tasks]
    return np.asarray(np.min(units, axis=0))


def _values(study: Study, group: Group) -> dict[str, Floats]:
    tasks = {task: group.values(task) for task in study.tasks}
    return {SCORE: group.values(SCORE), WORST: worst(study, group), **tasks}


def section(series: Series, looks: Looks, comparisons: Mapping[Study, Comparison]) -> Section:
    """Scores against the ratio, and where ARRP differs from the others."""
    blocks: list[Block] = [
        Text(
            "The same data, encoder and settings, but for the smaller training sets, which "
            "data.imbalance cuts down; dev sets stay the same."
        ),
        _scores(series),
        _figure(series, looks),
        *_advantage(series, comparisons),
    ]
    heading = "What imbalance does" + (f" ({series.number + 1})" if series.number else "")
    return Section(series.slug, heading, tuple(blocks))


def _scores(series: Series) -> Table:
    records, shown = [], []
    for method, groups in series.methods.items():
        seeds = sorted({group.n for group in groups.values()})
        row: Record = {"method": method.label, "n": " or ".join(map(str, seeds))}
        for place, group in sorted(groups.items()):
            study, ratio = series.studies[place], series.ratios[place]
            values = _values(study, group)
            row |= {f"{what} {ratio:g}": values[what] for what in (SCORE, WORST)}
            head = {"method": method.label, "ratio": ratio, "B": group.method.drawn}
            records.append(head | values | {"n": group.n, "subject": study.subject.words})
        shown.append(row)
    return table(
        f"{series.slug}-scores",
        "Score and worst task at each ratio of the largest training set to the others",
        series.subject,
        (
            *words("method"),
            *(
                column for what in (SCORE, WORST)
                for column in numeric(series.heads(what), numbers.metric, what)
            ),
            *numeric(["n"]),
        ),
        shown,
        files=records,
        caption=(
            "Mean ± standard deviation over seeds. Worst task: the lowest of the metrics, each "
            "mapped to 0..1. An epoch of other sizes has another number of steps: compare methods "
            "within a column. “B given”: B differs between ratios, or stands for a method that was "
            "run with several; then the largest is shown, and the CSV file says which."
        ),
    )  # fmt: skip


def _figure(series: Series, looks: Looks) -> Figure:
    study = series.studies[0]
    ylabels = {SCORE: "dev score", WORST: "lowest of 0..1"}
    ylabels |= {task: f"dev {study.metrics[task]}" for task in study.tasks}
    points = [
        (what, method.brief(), series.ratios[place], value)
        for method, groups in series.methods.items()
        for place, group in sorted(groups.items())
        for what, values in _values(series.studies[place], group).items()
        for value in values
    ]
    frame = pd.DataFrame(points, columns=POINTS)
    styles = {m.brief(): looks[groups[min(groups)].method] for m, groups in series.methods.items()}
    about = Figure(
        f"{series.slug}-ratio", "Score and worst task against the ratio of sizes", series.subject,
        f"Score, worst task and each task's metric against the ratio. {trends(frame)}",
        f"Means over seeds. {SPREAD}",
    )  # fmt: skip
    return lines_figure(about, frame, styles, ylabels, "ratio of sizes (log scale)", log=True)


def _advantage(series: Series, comparisons: Mapping[Study, Comparison]) -> list[Block]:
    """ARRP minus each other method, at each ratio."""
    records, shown, answers = [], [], []
    arrps = [method for method in series.methods if method.sampler == "arrp"]
    others = [method for method in series.methods if method.sampler != "arrp"]
    for arrp, other in product(arrps, others):
        both = {"method": arrp.label, "minus": other.label}
        ends = {
            place: (group, series.methods[other][place])
            for place, group in sorted(series.methods[arrp].items())
            if place in series.methods[other]
        }
        found = {p: comparisons[series.studies[p]].difference(*ends[p]) for p in ends}
        shown.append(both | {
            f"difference {series.ratios[p]:g}":
            Cell(f"{numbers.change(d.mean)} ({d.verdict})", bold=bool(d.sign))
            for p, d in found.items()
        })  # fmt: skip
        records += [
            both | {"ratio": series.ratios[p], "difference": d.mean, "verdict": d.verdict}
            for p, d in found.items()
        ]
        answers.append(f"{arrp.label} against {other.label}: {_answer(series, found, ends)}")
    if not shown:
        return []
    differences = table(
        f"{series.slug}-arrp",
        "The score of ARRP minus that of each other method, at each ratio",
        series.subject,
        (*words("method", "minus"), *numeric(series.heads("difference"))),
        shown,
        files=records,
        caption=f"{RULE} {series.subject.warning}".strip(),
    )
    return [Text(f"{QUESTION} {'; '.join(answers)}."), differences]


def _answer(
    series: Series, found: Mapping[int, Difference], groups: Mapping[int, tuple[Group, Group]]
) -> str:
    """Where it stands at the largest ratio, and whether that is another place than at the smallest.

    The second is a test of its own, over common seeds: that one difference is real and another is
    not shown says nothing of their difference.
    """
    last = len(series.studies) - 1
    if last not in found or found[last].unknown:
        return "cannot be judged"
    where = {1: "ahead", -1: "behind", 0: "no difference shown"}[found[last].sign]
    said = f"{where} at {series.ratios[last]:g} : 1"
    if 0 not in groups:
        return said
    ends = (groups[0], groups[last])
    common = sorted(set.intersection(*(set(g.seeds) for pair in ends for g in pair)))
    least, most = ([a.at(seed) - b.at(seed) for seed in common] for a, b in ends)
    interval = seed_interval(most, least)
    if interval is None:
        return said
    shown = "real over seeds" if interval.sign else "not shown to be real"
    by = numbers.change(float(np.mean(most) - np.mean(least)))
    return (
        f"{said}; from {series.ratios[0]:g} : 1 to there the difference changed by "
        f"{by} ({interval}, {shown})"
    )
