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

from mtl_bert.analysis import numbers
from mtl_bert.analysis.comparison import RULE, Comparison, Difference
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
from mtl_bert.analysis.figures.canvas import Words
from mtl_bert.analysis.figures.curves import SPREAD, Curve, panels_figure
from mtl_bert.analysis.figures.style import Looks
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.numbers import Floats, over_seeds, summary
from mtl_bert.analysis.statistics import seed_interval
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
    rows: list[list[str]] = []
    records: list[Record] = []
    for method, groups in series.methods.items():
        found = {place: _values(series.studies[place], group) for place, group in groups.items()}
        seeds = sorted({group.n for group in groups.values()})
        rows.append([
            method.label,
            *(
                over_seeds(found[place][what] if place in found else None)
                for what in (SCORE, WORST) for place in range(len(series.studies))
            ),
            " or ".join(map(str, seeds)),
        ])  # fmt: skip
        for place, group in sorted(groups.items()):
            record: dict[str, str | int | float | None] = {
                "method": method.label, "ratio": series.ratios[place], "B": group.method.drawn,
            }  # fmt: skip
            for what, values in found[place].items():
                record |= summary(what, values, sd=" sd")
            about = series.studies[place].subject.words
            records.append({**record, "n": group.n, "subject": about})
    heads = [f"{ratio:g} : 1" for ratio in series.ratios]
    return table(
        f"{series.slug}-scores",
        "Score and worst task at each ratio of the largest training set to the others",
        series.subject,
        (
            *words("method"), *numeric(*heads, group=SCORE), *numeric(*heads, group=WORST),
            *numeric("n"),
        ),
        rows,
        caption=(
            "Mean ± standard deviation over seeds. Worst task: the lowest of the metrics, each "
            "mapped to 0..1. An epoch of other sizes has another number of steps: compare methods "
            "within a column. “B given”: B differs between ratios, or stands for a method that was "
            "run with several; then the largest is shown, and the CSV file says which."
        ),
        records=records,
    )  # fmt: skip


def _figure(series: Series, looks: Looks) -> Figure:
    study = series.studies[0]
    whats = {SCORE: "dev score", WORST: "lowest of 0..1"}
    whats |= {task: f"dev {study.metrics[task]}" for task in study.tasks}
    curves = [
        Curve(
            method.brief(),
            looks[groups[min(groups)].method],
            [(series.ratios[p], _values(series.studies[p], groups[p])) for p in sorted(groups)],
        )
        for method, groups in series.methods.items()
    ]
    about = Words(
        f"{series.slug}-ratio", "Score and worst task against the ratio of sizes", series.subject,
        "Score, worst task and each task's metric against the ratio. "
        f"Scores: {'; '.join(curve.trend for curve in curves)}.",
        f"Means over seeds. {SPREAD}",
    )  # fmt: skip
    return panels_figure(about, whats, curves, "ratio of sizes (log scale)", log=True)


def _advantage(series: Series, comparisons: Mapping[Study, Comparison]) -> list[Block]:
    """ARRP minus each other method, at each ratio."""
    rows: list[tuple[str | Cell, ...]] = []
    records: list[Record] = []
    answers = []
    arrps = [method for method in series.methods if method.sampler == "arrp"]
    others = [method for method in series.methods if method.sampler != "arrp"]
    for arrp, other in product(arrps, others):
        ends = {
            place: (group, series.methods[other][place])
            for place, group in sorted(series.methods[arrp].items())
            if place in series.methods[other]
        }
        found = {p: comparisons[series.studies[p]].difference(*ends[p]) for p in ends}
        cells = [
            Cell(f"{numbers.change(d.mean)} ({d.verdict})" if d else numbers.MISSING,
                 bold=bool(d and d.sign))
            for d in map(found.get, range(len(series.studies)))
        ]  # fmt: skip
        rows.append((arrp.label, other.label, *cells))
        answers.append(f"{arrp.label} against {other.label}: {_answer(series, found, ends)}")
        records += [
            {"method": arrp.label, "minus": other.label, "ratio": series.ratios[place],
             "difference": d.mean, "verdict": d.verdict}
            for place, d in found.items()
        ]  # fmt: skip
    if not rows:
        return []
    differences = table(
        f"{series.slug}-arrp",
        "The score of ARRP minus that of each other method, at each ratio",
        series.subject,
        (*words("method", "minus"), *numeric(*(f"{ratio:g} : 1" for ratio in series.ratios))),
        rows,
        caption=f"{RULE} {series.subject.warning}".strip(),
        records=records,
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
