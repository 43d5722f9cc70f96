"""Figures beyond the paper's: what scores cost, and how they come about.

Shapes: S seeds of a method, E epochs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis import style
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import Legend, Words, draw, log_axis
from mtl_bert.analysis.figures.panels import SPREAD, Curve
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.studies import SCORE, Group, Study
from mtl_bert.analysis.style import Look

Looks = Mapping[Method, Look]


def pareto(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """The places that nothing beats in both, cheapest first: no other costs no more and gains more.

    Of equals the first one stands for all.
    """
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[place] > gains[front[-1]]:
            front.append(place)
    return front


def cost_figure(study: Study, looks: Looks) -> Figure | None:
    """Score against training time on the device of most methods, with the Pareto front."""
    trained = [g for g in study.main if g.trained]
    if not trained:
        return None
    ((device, _),) = Counter(g.devices for g in trained).most_common(1)
    groups = [g for g in trained if g.devices == device]
    elsewhere = [g.label for g in trained if g not in groups]
    costs = [float(g.minutes.mean()) for g in groups]
    gains = [float(g.values(SCORE).mean()) for g in groups]
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
            look = looks[group.method]
            axes.errorbar(
                cost, gain, xerr=spread(group.minutes), yerr=spread(group.values(SCORE)),
                color=look.colour, marker=look.marker, markerfacecolor=look.fill, markersize=6,
                linestyle="none", elinewidth=0.8, label=group.method.brief(),
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


def examples_seen(run: Run) -> Floats:
    """Training examples seen by the end of each epoch: [E]."""
    each = [sum(phase.examples for phase in epoch.phases) for epoch in run.results.epochs]
    return np.cumsum(each, dtype=np.float64)


def progress_figures(study: Study, looks: Looks) -> list[Figure]:
    """Score against epoch, and against the examples seen; not all epochs need have been scored."""
    groups = [g for g in study.main if g.trained]
    if not groups:
        return []
    legend = Legend(_briefs(groups))

    def curve(group: Group, *, by_examples: bool) -> Curve:
        points = []
        for epoch in range(min(len(run.results.epochs) for run in group.runs)):
            scores = [run.results.epochs[epoch].score for run in group.runs]
            known = np.array([score for score in scores if score is not None])
            seen = np.mean([examples_seen(run)[epoch] for run in group.runs])
            if len(known) == len(scores):
                points.append((float(seen) if by_examples else epoch + 1.0, {SCORE: known}))
        return Curve(group.method.brief(), looks[group.method], points)

    def figure(name: str, heading: str, xlabel: str, *, by_examples: bool) -> Figure:
        def paint(canvas: Canvas) -> None:
            axes = canvas.subplots()
            curves = [curve(group, by_examples=by_examples) for group in groups]
            for found in curves:
                found.paint(axes, SCORE)
            if by_examples:
                places = [x for found in curves for x, _ in found.points]
                log_axis(axes, min(places), max(places))
            else:
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel=xlabel, ylabel="dev score (0 to 1)")
            legend.paint(canvas, axes)

        sample = study.setting["dev_sample"]
        on = "" if sample is None else f", on at most {sample:,} examples of each dev set"
        whole = "" if sample is None else ", on whole dev sets"
        ends = (f"{g.label} {np.mean([r.results.last.score for r in g.runs]):.3f}" for g in groups)
        return draw(
            Words(
                f"{study.slug}-{name}", heading, study.subject,
                f"{heading} for {len(groups)} methods; after the last epoch{whole}: "
                f"{', '.join(ends)}.",
                f"Means over seeds after each epoch that was scored{on}. {SPREAD}",
            ),
            paint,
            height=2.6 + legend.height,
        )  # fmt: skip

    return [
        figure("score-epoch", "Score against epoch", "epoch", by_examples=False),
        figure(
            "score-examples", "Score against examples seen",
            "training examples seen, all tasks, repeats included (log scale)", by_examples=True,
        ),
    ]  # fmt: skip


def utilisation_figure(study: Study, looks: Looks) -> Figure | None:
    """Each task's metric against the share of its training set that was seen."""
    groups = [g for g in study.main if g.trained]
    if not groups:
        return None
    tasks, legend = study.tasks, Legend(_briefs(groups))

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            for group in groups:
                shares = [run.results.utilisation.get(task) for run in group.runs]
                known = [100 * share.fraction for share in shares if share is not None]
                if not known:
                    continue
                look, values = looks[group.method], group.values(task)
                axes.errorbar(
                    np.mean(known), values.mean(), yerr=spread(values), color=look.colour,
                    marker=look.marker, markerfacecolor=look.fill, linestyle="none",
                    elinewidth=0.8, label=group.method.brief(),
                )  # fmt: skip
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
