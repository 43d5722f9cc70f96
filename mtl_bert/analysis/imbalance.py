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

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.comparing import RULE, Comparison, Difference
from mtl_bert.analysis.document import Block, Cell, Column, Figure, Record, Section, Table, Text
from mtl_bert.analysis.figures.canvas import Words
from mtl_bert.analysis.figures.panels import SPREAD, Curve, panels_figure
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.statistics import Floats, Interval, seed_interval, spread
from mtl_bert.analysis.studies import SCORE, Group, Study
from mtl_bert.analysis.style import Look
from mtl_bert.analysis.subject import Subject

WORST = "worst task"
QUESTION = "Does ARRP's advantage appear where tasks are of very unequal size?"


@dataclass(frozen=True, eq=False)
class Ladder:
    """Studies that differ in nothing but how much of the smaller training sets there is.

    Attributes:
        studies: in rising order of their ratios.
        number: from 0, among the ladders of a report.
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


def ladders(studies: Sequence[Study]) -> list[Ladder]:
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
    return [Ladder(members, number) for number, members in enumerate(several)]


def worst(study: Study, group: Group) -> Floats:
    """The lowest metric over tasks, each mapped to 0..1: [S]."""
    units = [study.unit(task, group.values(task)) for task in study.tasks]
    return np.asarray(np.min(units, axis=0))


def section(
    ladder: Ladder, looks: Mapping[Method, Look], comparisons: Mapping[Study, Comparison]
) -> Section:
    """Scores against the ratio, and where ARRP differs from the others."""
    blocks: list[Block] = [
        Text(
            "The same data, encoder and settings, but for the smaller training sets, which "
            "data.imbalance cuts down; dev sets stay the same."
        ),
        _scores(ladder),
        _figure(ladder, looks),
        *_advantage(ladder, comparisons),
    ]
    heading = "What imbalance does" + (f" ({ladder.number + 1})" if ladder.number else "")
    return Section(ladder.slug, heading, tuple(blocks))


def _scores(ladder: Ladder) -> Table:
    heads = [f"{ratio:g} : 1" for ratio in ladder.ratios]
    rows, records = [], []
    for method, groups in ladder.methods.items():
        cells = [Cell(method.label)]
        for what in (SCORE, WORST):
            for place, study in enumerate(ladder.studies):
                group = groups.get(place)
                values = None if group is None else _values(study, group)[what]
                shown = numbers.MISSING if values is None else numbers.with_spread(values)
                cells.append(Cell(shown))
        seeds = sorted({len(group.runs) for group in groups.values()})
        rows.append((*cells, Cell(" or ".join(map(str, seeds)))))
        records += [
            _record(ladder, method, place, ladder.studies[place], group)
            for place, group in sorted(groups.items())
        ]
    return Table(
        name=f"{ladder.slug}-scores",
        heading="Score and worst task at each ratio of the largest training set to the others",
        subject=ladder.subject,
        columns=(
            Column("method", numeric=False),
            *(Column(head, what) for what in (SCORE, WORST) for head in heads),
            Column("n"),
        ),
        rows=tuple(rows),
        caption=(
            "Mean ± standard deviation over seeds. Worst task: the lowest of the metrics, each "
            "mapped to 0..1. An epoch of other sizes has another number of steps: compare methods "
            "within a column. “B given”: B differs between ratios, or stands for a method that was "
            "run with several; then the largest is shown, and the CSV file says which."
        ),
        records=tuple(records),
    )


def _values(study: Study, group: Group) -> dict[str, Floats]:
    tasks = {task: group.values(task) for task in study.tasks}
    return {SCORE: group.values(SCORE), WORST: worst(study, group), **tasks}


def _record(ladder: Ladder, method: Method, place: int, study: Study, group: Group) -> Record:
    means: dict[str, float | None] = {}
    for what, values in _values(study, group).items():
        means[what] = float(values.mean())
        means[f"{what} sd"] = spread(values)
    return {
        "method": method.label, "ratio": ladder.ratios[place], "B": group.method.drawn,
        **means, "n": len(group.runs), "subject": study.subject.words,
    }  # fmt: skip


def _figure(ladder: Ladder, looks: Mapping[Method, Look]) -> Figure:
    study = ladder.studies[0]
    whats = {SCORE: "dev score", WORST: "lowest of 0..1"}
    whats |= {task: f"dev {study.metrics[task]}" for task in study.tasks}
    curves = []
    for method, groups in ladder.methods.items():
        places = sorted(groups)
        points = [
            (ladder.ratios[place], _values(ladder.studies[place], groups[place]))
            for place in places
        ]
        curves.append(Curve(method.brief(), looks[groups[places[0]].method], points))
    trends = "; ".join(
        f"{curve.label}: " + ", ".join(f"{x:g} {v[SCORE].mean():.3f}" for x, v in curve.points)
        for curve in curves
    )
    words = Words(
        f"{ladder.slug}-ratio", "Score and worst task against the ratio of sizes", ladder.subject,
        f"Score, worst task and each task's metric against the ratio. Scores: {trends}.",
        f"Means over seeds. {SPREAD}",
    )  # fmt: skip
    return panels_figure(words, whats, curves, "ratio of sizes (log scale)", log=True)


def _advantage(ladder: Ladder, comparisons: Mapping[Study, Comparison]) -> list[Block]:
    """ARRP minus each other method, at each ratio."""
    rows, answers = [], []
    records: list[Record] = []
    for arrp in (method for method in ladder.methods if method.sampler == "arrp"):
        for other in ladder.methods:
            if other.sampler == "arrp":
                continue
            found = _differences(ladder, comparisons, arrp, other)
            cells = [
                Cell(
                    f"{numbers.change(d.mean)} ({d.verdict})" if d else numbers.MISSING,
                    bold=bool(d and d.sign),
                )
                for d in found
            ]
            rows.append((Cell(arrp.label), Cell(other.label), *cells))
            change = _change(ladder, arrp, other)
            answers.append(f"{arrp.label} against {other.label}: {_answer(ladder, found, change)}")
            records += [
                {
                    "method": arrp.label, "minus": other.label, "ratio": ratio,
                    "difference": d.mean, "verdict": d.verdict, "subject": ladder.subject.words,
                }
                for ratio, d in zip(ladder.ratios, found, strict=True)
                if d is not None
            ]  # fmt: skip
    if not rows:
        return []
    table = Table(
        name=f"{ladder.slug}-arrp",
        heading="The score of ARRP minus that of each other method, at each ratio",
        subject=ladder.subject,
        columns=(
            Column("method", numeric=False), Column("minus", numeric=False),
            *(Column(f"{ratio:g} : 1") for ratio in ladder.ratios),
        ),
        rows=tuple(rows),
        caption=f"{RULE} {ladder.subject.warning}".strip(),
        records=tuple(records),
    )  # fmt: skip
    return [Text(f"{QUESTION} {'; '.join(answers)}."), table]


def _differences(
    ladder: Ladder, comparisons: Mapping[Study, Comparison], first: Method, second: Method
) -> list[Difference | None]:
    found: list[Difference | None] = []
    for place, study in enumerate(ladder.studies):
        one, other = (ladder.methods[method].get(place) for method in (first, second))
        if one is None or other is None:
            found.append(None)
        else:
            found.append(comparisons[study].difference(one, other))
    return found


def _change(ladder: Ladder, first: Method, second: Method) -> tuple[float, Interval | None] | None:
    """How the difference changes from the smallest to the largest ratio, over common seeds."""
    ends = [
        (ladder.methods[first].get(place), ladder.methods[second].get(place))
        for place in (0, len(ladder.studies) - 1)
    ]
    groups = [group for pair in ends for group in pair if group is not None]
    if len(groups) < 4:
        return None
    common = sorted(set.intersection(*(set(group.seeds) for group in groups)))
    if not common:
        return None
    least, most = (
        [_at(a, seed) - _at(b, seed) for seed in common] for a, b in (groups[:2], groups[2:])
    )
    return float(np.mean(most) - np.mean(least)), seed_interval(most, least)


def _at(group: Group, seed: int) -> float:
    return float(group.values(SCORE)[group.seeds.index(seed)])


def _answer(
    ladder: Ladder,
    found: Sequence[Difference | None],
    change: tuple[float, Interval | None] | None,
) -> str:
    """Where it stands at the largest ratio, and whether that is another place than at the smallest.

    The second is a test of its own: that one difference is real and another is not shown says
    nothing of their difference.
    """
    most = found[-1]
    if most is None or most.unknown:
        return "cannot be judged"
    where = {1: "ahead", -1: "behind", 0: "no difference shown"}[most.sign]
    words = f"{where} at {ladder.ratios[-1]:g} : 1"
    by, interval = change or (0.0, None)
    if interval is None:
        return words
    shown = "real over seeds" if interval.sign else "not shown to be real"
    return (
        f"{words}; from {ladder.ratios[0]:g} : 1 to there the difference changed by "
        f"{numbers.change(by)} ({interval}, {shown})"
    )
