"""Methods as curves: what scores cost, how they come about, and what λ and B do.

Shapes: S seeds of a method, E epochs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures import style
from mtl_bert.analysis.figures.canvas import Legend, Words, draw, log_axis
from mtl_bert.analysis.figures.style import Look, Looks
from mtl_bert.analysis.methods import UPDATE
from mtl_bert.analysis.numbers import Floats, spread
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import SCORE, Group, Study

SPREAD = "Bars or bands: ± one standard deviation over seeds, where there are several."
_Series = dict[str, list[tuple[float, Group]]]


@dataclass(frozen=True)
class Curve:
    """A method along x.

    Attributes:
        label: in the legend.
        look: of its line.
        points: x in rising order, and what was measured there over seeds: metric -> [S].
    """

    label: str
    look: Look
    points: Sequence[tuple[float, Mapping[str, Floats]]]

    def paint(self, axes: Axes, what: str) -> None:
        """Mean and spread of a metric."""
        x = [place for place, _ in self.points]
        mean = np.array([float(values[what].mean()) for _, values in self.points])
        sd = np.array([spread(values[what]) or 0.0 for _, values in self.points])
        axes.plot(
            x, mean, color=self.look.colour, linestyle=self.look.line, marker=self.look.marker,
            markerfacecolor=self.look.fill, label=self.label,
        )  # fmt: skip
        axes.fill_between(x, mean - sd, mean + sd, color=self.look.colour, alpha=0.15, linewidth=0)

    @property
    def trend(self) -> str:
        """The scores' means, in words."""
        scores = (f"{x:g} {values[SCORE].mean():.3f}" for x, values in self.points)
        return f"{self.label}: {', '.join(scores)}"


def panels_figure(
    words: Words, whats: Mapping[str, str], curves: Sequence[Curve], xlabel: str, *, log: bool
) -> Figure:
    """A panel for each metric, two side by side.

    Args:
        words: what is said about the figure.
        whats: metric -> the label of its axis.
        curves: the same in each panel.
        xlabel: what they go along.
        log: whether that is on a logarithmic scale.
    """
    rows = (len(whats) + 1) // 2
    legend = Legend(tuple(curve.label for curve in curves))
    places = [x for curve in curves for x, _ in curve.points]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(rows, 2, squeeze=False, sharex=True).flatten()
        for axes, (what, ylabel) in zip(panels, whats.items(), strict=False):
            for curve in curves:
                curve.paint(axes, what)
            axes.set(ylabel=ylabel, title=what)
            if log:
                log_axis(axes, min(places), max(places))
        for axes in panels[len(whats) :]:
            axes.set_visible(False)
        for axes in panels[: len(whats)][-2:]:
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        legend.paint(canvas, panels[0])

    return draw(words, paint, height=1.75 * rows + 0.3 + legend.height)


def study_figures(study: Study, looks: Looks) -> list[Figure]:
    """All curves of a study's trained methods; none without any."""
    groups = [group for group in study.main if group.trained]
    if not groups:
        return []
    return [
        cost_figure(study, groups, looks),
        *progress_figures(study, groups, looks),
        utilisation_figure(study, groups, looks),
        *effect_figures(study, looks),
    ]


def pareto(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """The places that nothing beats in both, cheapest first: no other costs no more and gains more.

    Of equals the first one stands for all.
    """
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[place] > gains[front[-1]]:
            front.append(place)
    return front


def cost_figure(study: Study, trained: Sequence[Group], looks: Looks) -> Figure:
    """Score against training time on the device of most methods, with the Pareto front."""
    ((device, _),) = Counter(g.devices for g in trained).most_common(1)
    groups = [g for g in trained if g.devices == device]
    elsewhere = [g.label for g in trained if g not in groups]
    costs = [float(g.minutes.mean()) for g in groups]
    gains = [g.mean() for g in groups]
    front = pareto(costs, gains)
    legend = Legend((*_briefs(groups), "Pareto front"))

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        x, y = np.array(costs)[front], np.array(gains)[front]
        axes.plot(
            x, y, color=style.INK, linewidth=0.9, linestyle=(0, (4, 2)), label="Pareto front",
            drawstyle="steps-post",  # nothing between two methods has been run
        )  # fmt: skip
        for group, cost, gain in zip(groups, costs, gains, strict=True):
            _point(
                axes, group, looks, cost, gain, xerr=spread(group.minutes),
                yerr=spread(group.values(SCORE)), markersize=6,
            )  # fmt: skip
        log_axis(axes, min(costs), max(costs))
        axes.set(xlabel="training time (minutes per epoch, log scale)", ylabel="dev score (0 to 1)")
        legend.paint(canvas, axes)

    names = ", ".join(groups[place].label for place in front)
    return draw(
        Words(
            f"{study.slug}-score-time", "Score against training time", study.subject,
            f"Dev score and minutes per epoch of {len(groups)} methods; on the Pareto front: "
            f"{names}.",
            f"Means over seeds, on {' and '.join(sorted(device))}. Nothing is both faster and "
            f"better than the front. {SPREAD}"
            + (f" Left out, as run elsewhere: {'; '.join(elsewhere)}." if elsewhere else ""),
        ),
        paint,
        height=2.5 + legend.height,
    )  # fmt: skip


def _briefs(groups: Sequence[Group]) -> tuple[str, ...]:
    return tuple(group.method.brief() for group in groups)


def _point(axes: Axes, group: Group, looks: Looks, x: float, y: float, **more: Any) -> None:
    look = looks[group.method]
    axes.errorbar(
        x, y, color=look.colour, marker=look.marker, markerfacecolor=look.fill, linestyle="none",
        elinewidth=0.8, label=group.method.brief(), **more,
    )  # fmt: skip


def examples_seen(run: Run) -> Floats:
    """Training examples seen by the end of each epoch: [E]."""
    each = [sum(phase.examples for phase in epoch.phases) for epoch in run.results.epochs]
    return np.cumsum(each, dtype=np.float64)


def progress(group: Group, look: Look, *, by_examples: bool) -> Curve:
    """Score against epoch or examples seen; not all epochs need have been scored."""
    points = []
    for epoch in range(min(len(run.results.epochs) for run in group.runs)):
        scores = [run.results.epochs[epoch].score for run in group.runs]
        known = np.array([score for score in scores if score is not None])
        seen = np.mean([examples_seen(run)[epoch] for run in group.runs])
        if len(known) == len(scores):
            points.append((float(seen) if by_examples else epoch + 1.0, {SCORE: known}))
    return Curve(group.method.brief(), look, points)


def progress_figures(study: Study, groups: Sequence[Group], looks: Looks) -> list[Figure]:
    """Score against epoch, and against the examples seen."""
    legend = Legend(_briefs(groups))
    sample = study.setting["dev_sample"]
    on = "" if sample is None else f", on at most {sample:,} examples of each dev set"
    whole = "" if sample is None else ", on whole dev sets"
    ends = (f"{g.label} {np.mean([r.results.last.score for r in g.runs]):.3f}" for g in groups)
    last = f"{len(groups)} methods; after the last epoch{whole}: {', '.join(ends)}."

    def figure(name: str, heading: str, xlabel: str, *, by_examples: bool) -> Figure:
        def paint(canvas: Canvas) -> None:
            axes = canvas.subplots()
            curves = [progress(g, looks[g.method], by_examples=by_examples) for g in groups]
            for found in curves:
                found.paint(axes, SCORE)
            if by_examples:
                places = [x for found in curves for x, _ in found.points]
                log_axis(axes, min(places), max(places))
            else:
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel=xlabel, ylabel="dev score (0 to 1)")
            legend.paint(canvas, axes)

        words = Words(
            f"{study.slug}-{name}", heading, study.subject, f"{heading} for {last}",
            f"Means over seeds after each epoch that was scored{on}. {SPREAD}",
        )  # fmt: skip
        return draw(words, paint, height=2.6 + legend.height)

    seen = "training examples seen, all tasks, repeats included (log scale)"
    return [
        figure("score-epoch", "Score against epoch", "epoch", by_examples=False),
        figure("score-examples", "Score against examples seen", seen, by_examples=True),
    ]


def utilisation_figure(study: Study, groups: Sequence[Group], looks: Looks) -> Figure:
    """Each task's metric against the share of its training set that was seen."""
    tasks, legend = study.tasks, Legend(_briefs(groups))

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            for group in groups:
                used = [run.results.utilisation.get(task) for run in group.runs]
                known = [100 * each.fraction for each in used if each is not None]
                if known:
                    yerr = spread(group.values(task))
                    _point(axes, group, looks, float(np.mean(known)), group.mean(task), yerr=yerr)
            axes.set(
                xlabel="% of training set seen", ylabel=f"dev {study.metrics[task]}", title=task
            )
            axes.set_xlim(-4, 104)
        legend.paint(canvas, panels[0])

    return draw(
        Words(
            f"{study.slug}-utilisation", "Each task against the use of its training set",
            study.subject,
            f"One panel for each of {', '.join(tasks)}: the dev metric of {len(groups)} methods "
            "against the share of different training examples seen over all epochs.",
            f"Different examples seen at least once, over all epochs. {SPREAD}",
        ),
        paint,
        height=2.2 + legend.height,
    )  # fmt: skip


def effect_figures(study: Study, looks: Looks) -> list[Figure]:
    """A figure for each of λ and B that has several values in otherwise equal methods."""
    asked = (
        ("λ", "effect-lambda", "The effect of λ on ARRP", "λ of the second phase"),
        ("B", "effect-b", "The effect of B", "B (log scale)"),
    )
    whats = {SCORE: "dev score"} | {task: f"dev {study.metrics[task]}" for task in study.tasks}
    found = []
    for letter, name, heading, xlabel in asked:
        curves = [
            Curve(
                label,
                looks[points[0][1].method],
                [(x, {what: group.values(what) for what in whats}) for x, group in points],
            )
            for label, points in _series(study.main, letter).items()
        ]
        if curves:
            words = Words(
                f"{study.slug}-{name}", heading, study.subject,
                f"{heading} on the score and on {', '.join(study.tasks)}. "
                f"Scores: {'; '.join(curve.trend for curve in curves)}.",
                f"Methods that differ in nothing else are joined. Means over seeds. {SPREAD}",
            )  # fmt: skip
            found.append(panels_figure(words, whats, curves, xlabel, log=letter == "B"))
    return found


def _series(groups: Sequence[Group], letter: str) -> _Series:
    """Curves along λ or B of at least two points: name -> x and method, in rising order."""
    series: _Series = {}
    for group in groups:
        method = group.method
        x = method.lambda_ if letter == "λ" else method.drawn
        if x is not None:
            series.setdefault(method.brief(letter), []).append((float(x), group))
    if letter == "λ":
        _join_at_one(series)
    return {
        name: sorted(points, key=lambda point: point[0])
        for name, points in series.items()
        if len(points) > 1
    }


def _join_at_one(series: _Series) -> None:
    """With λ=1 nothing is scaled: curves that differ in what λ scales share that point."""
    ends = [group for points in series.values() for x, group in points if x == 1]
    for end in ends:
        twin = replace(end.method, lambda_on=UPDATE).brief("λ")
        if twin in series:
            series[twin].append((1.0, end))
