"""Methods as curves: what scores cost, how they come about, and what λ and B do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis.canvas import (
    INK,
    POINTS,
    SPREAD,
    Looks,
    draw,
    legend,
    lines_figure,
    logarithmic,
)
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.methods import UPDATE
from mtl_bert.analysis.numbers import spread
from mtl_bert.analysis.studies import SCORE, Group, Study

SCORES = "dev score (0 to 1)"


def study_figures(study: Study, looks: Looks) -> list[Figure]:
    """All curves of a study's trained methods; none without any."""
    groups = [group for group in study.main if group.trained]
    if not groups:
        return []
    progress = [
        progress_figure(study, groups, looks, by_examples=by_examples)
        for by_examples in (False, True)
    ]
    return [cost_figure(study, groups, looks), *progress, *effect_figures(study, looks)]


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
    costs = np.array([g.minutes.mean() for g in groups])
    gains = np.array([g.mean() for g in groups])
    front = pareto(costs.tolist(), gains.tolist())

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(
            costs[front], gains[front], color=INK, linewidth=0.9, linestyle=(0, (4, 2)),
            label="Pareto front", drawstyle="steps-post",  # nothing lies between two methods
        )  # fmt: skip
        for group, cost, gain in zip(groups, costs, gains, strict=True):
            axes.errorbar(
                cost, gain, xerr=spread(group.minutes), yerr=spread(group.values(SCORE)),
                linestyle="none", elinewidth=0.8, markersize=6, label=group.method.brief(),
                **looks[group.method].marks,
            )  # fmt: skip
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
        axes.set(xlabel="training time (minutes per epoch, log scale)", ylabel=SCORES)
        legend(canvas, axes)

    left_out = f" Left out, as run elsewhere: {'; '.join(elsewhere)}." if elsewhere else ""
    about = Figure(
        f"{study.slug}-score-time",
        "Score against training time",
        study.subject,
        f"Dev score and minutes per epoch of {len(groups)} methods; on the Pareto front: "
        f"{', '.join(groups[place].label for place in front)}.",
        f"Means over seeds, on {' and '.join(sorted(device))}. Nothing is both faster and "
        f"better than the front. {SPREAD}{left_out}",
    )
    return draw(about, paint)


def progress(group: Group, *, by_examples: bool) -> list[tuple[str, str, float, float]]:
    """Score against epoch or examples seen, after the epochs that all seeds were scored after."""
    epochs = [run.results.epochs for run in group.runs]
    seen = np.mean([
        np.cumsum([sum(p.examples for p in e.phases) for e in each[: min(map(len, epochs))]])
        for each in epochs
    ], axis=0)  # fmt: skip
    points = []
    for number, records in enumerate(zip(*epochs, strict=False)):
        scores = [record.score for record in records if record.score is not None]
        if len(scores) == len(records):
            x = float(seen[number]) if by_examples else number + 1
            points += [(SCORE, group.method.brief(), x, score) for score in scores]
    return points


def progress_figure(
    study: Study, groups: Sequence[Group], looks: Looks, *, by_examples: bool
) -> Figure:
    """Score against epoch, or against the examples seen."""
    sample = study.setting["dev_sample"]
    on = "" if sample is None else f", on at most {sample:,} examples of each dev set"
    whole = "" if sample is None else ", on whole dev sets"
    ends = (f"{g.label} {np.mean([r.results.last.score for r in g.runs]):.3f}" for g in groups)
    heading = f"Score against {'examples seen' if by_examples else 'epoch'}"
    about = Figure(
        f"{study.slug}-score-{'examples' if by_examples else 'epoch'}",
        heading,
        study.subject,
        f"{heading} for {len(groups)} methods; after the last epoch{whole}: {', '.join(ends)}.",
        f"Means over seeds after each epoch that was scored{on}. {SPREAD}",
    )
    points = [point for g in groups for point in progress(g, by_examples=by_examples)]
    return lines_figure(
        about,
        pd.DataFrame(points, columns=POINTS),
        {group.method.brief(): looks[group.method] for group in groups},
        {SCORE: SCORES},
        "training examples seen, all tasks, repeats included (log scale)"
        if by_examples
        else "epoch",
        log=by_examples,
    )


def effect_figures(study: Study, looks: Looks) -> list[Figure]:
    """A figure for each of λ and B that has several values in otherwise equal methods."""
    asked = (
        ("λ", "effect-lambda", "The effect of λ on ARRP", "λ of the second phase"),
        ("B", "effect-b", "The effect of B", "B (log scale)"),
    )
    ylabels = {SCORE: "dev score"} | {task: f"dev {study.metrics[task]}" for task in study.tasks}
    found = []
    for letter, name, heading, xlabel in asked:
        series = _series(study.main, letter)
        points = pd.DataFrame(
            [
                (what, label, x, value)
                for label, groups in series.items()
                for x, group in groups.items()
                for what in ylabels
                for value in group.values(what)
            ],
            columns=POINTS,
        )
        if series:
            about = Figure(
                f"{study.slug}-{name}", heading, study.subject,
                f"{heading} on the score and on {', '.join(study.tasks)}. {trends(points)}",
                f"Methods that differ in nothing else are joined. Means over seeds. {SPREAD}",
            )  # fmt: skip
            styles = {
                label: looks[next(iter(groups.values())).method] for label, groups in series.items()
            }
            found.append(lines_figure(about, points, styles, ylabels, xlabel, log=letter == "B"))
    return found


def trends(points: pd.DataFrame) -> str:
    """The scores' means in words, series by series."""
    means = points[points["panel"] == SCORE].groupby(["series", "x"], sort=False)["y"].mean()
    said = [
        f"{label}: {', '.join(f'{x:g} {y:.3f}' for x, y in each.droplevel(0).items())}"
        for label, each in means.groupby("series", sort=False)
    ]
    return f"Scores: {'; '.join(said)}."


def _series(groups: Sequence[Group], letter: str) -> dict[str, dict[float, Group]]:
    """Curves along λ or B of at least two points: name -> x in rising order -> method.

    With λ=1 nothing is scaled: curves that differ in what λ scales share that point.
    """
    series: dict[str, dict[float, Group]] = {}
    for group in groups:
        method = group.method
        x = method.lambda_ if letter == "λ" else method.drawn
        if x is not None:
            series.setdefault(method.brief(letter), {})[float(x)] = group
    if letter == "λ":
        for end in [found[1.0] for found in series.values() if 1.0 in found]:
            twin = replace(end.method, lambda_on=UPDATE).brief("λ")
            series.get(twin, {})[1.0] = end
    return {name: dict(sorted(found.items())) for name, found in series.items() if len(found) > 1}
