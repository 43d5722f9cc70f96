"""The paper's section 6 for a run: its answers drawn, and the wrong ones it is most sure of."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis import paper
from mtl_bert.analysis.canvas import INK, SERIES, draw, heat_map, rows
from mtl_bert.analysis.document import Block, Column, Figure, Text, table
from mtl_bert.analysis.numbers import metric
from mtl_bert.analysis.old_statistics import pearson
from mtl_bert.analysis.run_files import Classes, Run, Scale, UnusableError
from mtl_bert.analysis.studies import Study, Subject

SHOWN = 5
_NUMBERS = {
    task: f"Figure {number}: "
    for number, task in enumerate((paper.SENTIMENT, paper.PARAPHRASE, paper.SIMILARITY), start=2)
}
LIMITS = (0.5, 1.0, 2.0)
_MANY = 5_000  # points that an SVG should not hold one by one


def answer_blocks(study: Study, run: Run, task: str, stem: str) -> list[Block]:
    """A task's figure and the wrong answers that a run is most sure of, or why there are none."""
    head = run.head(task)
    if head is None:
        return [Text(f"{task}: its head is of a kind that this report has no figure for.")]
    try:
        found = run.predictions(task)
    except UnusableError as error:
        return [
            Text(f"{task}: no figure, because the predictions of {run.name} are no use: {error}.")
        ]
    of = f"of {paper.TITLES.get(task, task).lower()} ({task}), {run.name}"
    number = _NUMBERS.get(task, "")
    if isinstance(head, Classes):
        given = found[["label", "prediction"]]
        if not given.isin(range(len(head.names))).to_numpy().all():
            return [Text(f"{task}: no figure, because predictions are not among the classes.")]
        heading = f"{number}confusion matrix and labels {of}"
        labels = run.results.data.train_labels[task]
        figure = confusion_figure(f"{stem}-confusion", heading, study.subject, labels, head, found)
    else:
        heading = f"{number}true and predicted values {of}"
        figure = scatter_figure(f"{stem}-scatter", heading, study.subject, head, found)
    return [figure, mistakes_table(study, f"{stem}-mistakes", run.name, task, head, found)]


def mistakes(found: pd.DataFrame, head: Classes | Scale) -> pd.DataFrame:
    """The worst answers, the worst first, with how bad they are.

    Of classes the wrong ones with the highest confidence, of numbers those farthest off.
    """
    off = (found["prediction"] - found["label"]).abs()
    badness = off if isinstance(head, Scale) else found["confidence"]
    wrong = found.assign(badness=badness)[off > 0]
    return wrong.sort_values("badness", ascending=False, kind="stable").head(SHOWN)


def mistakes_table(
    study: Study, name: str, run: str, task: str, head: Classes | Scale, found: pd.DataFrame
) -> Block:
    """A task's list."""
    by, last = "most confident wrong answers", "confidence"
    if isinstance(head, Scale):
        by, last = "largest errors", "error"
    name_of = "{:.2f}".format if isinstance(head, Scale) else head.name
    texts = found.columns.intersection(["text", "text2"])
    records = [
        {
            "id": each["id"], **each[texts], "label": name_of(each["label"]),
            "prediction": name_of(each["prediction"]), last: float(each["badness"]),
            "_text": " | ".join(each[texts]),
        }
        for _, each in mistakes(found, head).iterrows()
    ]  # fmt: skip
    return table(
        name,
        f"{task}: {by} of {run}",
        study.subject,
        (
            Column(" | ".join(["text"] * len(texts)), numeric=False, key="_text"),
            Column("true", numeric=False, key="label"),
            Column("predicted", numeric=False, key="prediction"),
            Column(last, form="{:.3f}".format),
        ),
        records,
        caption="" if records else "There is no wrong answer.",
    )


def confusion(found: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Shares of each true class (rows) by predicted class; rows without examples are 0."""
    counts = pd.crosstab(found["label"], found["prediction"])
    classes = range(len(names))
    counts = counts.reindex(classes, fill_value=0).reindex(classes, axis=1, fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(1), axis=0)
    return shares.set_axis(names).set_axis(names, axis=1)


def confusion_figure(
    name: str, heading: str, subject: Subject, given: dict[str, int], head: Classes,
    found: pd.DataFrame,
) -> Figure:  # fmt: skip
    """Figures 2 and 3: a row-normalised confusion matrix and the training labels of each class."""
    shares = confusion(found, head.names)
    numbers = [given.get(label, 0) for label in head.names]
    short = [label.replace(" ", "\n") for label in head.names]

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.25, 1))
        heat_map(left, shares.set_axis(short).set_axis(short, axis=1), "Blues", 0, 1)
        left.set(xlabel="predicted", ylabel="true", title="share of the true class")
        bars = right.barh(np.arange(len(short)) + 0.5, numbers, color=SERIES[0], height=0.7)
        right.bar_label(bars, [f"{n:,}" for n in numbers], fontsize=6.5, padding=2, color=INK)
        rows(right, short)
        right.margins(x=0.18)
        right.grid(visible=False, axis="y")
        right.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        right.xaxis.set_major_formatter("{x:,.0f}")
        right.set(xlabel="examples", title="training labels")

    diagonal = zip(head.names, shares.to_numpy().diagonal(), strict=True)
    right = "; ".join(f"{label} {share:.0%}" for label, share in diagonal)
    about = Figure(
        name, heading, subject,
        f"Confusion matrix; right answers by true class: {right}. "
        f"Counts of training labels: {dict(zip(head.names, numbers, strict=True))}.",
        "Left: each true class is a row that adds up to 1. Right: the training labels.",
    )  # fmt: skip
    return draw(about, paint, 2.9 if len(short) > 2 else 2.3)


def scatter_figure(
    name: str, heading: str, subject: Subject, head: Scale, found: pd.DataFrame
) -> Figure:
    """Figure 4: true against predicted values, and how far they lie apart."""
    labels, predictions = (found[name].to_numpy(float) for name in ("label", "prediction"))
    r = metric(float(pearson(labels, predictions)))
    distances = distance_groups((found["prediction"] - found["label"]).abs())

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.1, 1))
        ends = [head.low, head.high]
        left.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        left.scatter(
            labels, predictions, s=7, color=SERIES[0], alpha=0.4, linewidths=0,
            rasterized=len(found) > _MANY,
        )  # fmt: skip
        title = f"Pearson r = {r}, N = {len(found):,}"
        left.set(xlabel="true", ylabel="predicted", title=title)
        bars = right.bar(list(distances), list(distances.values()), color=SERIES[0], width=0.7)
        right.bar_label(bars, fmt="{:,.0f}", fontsize=6.5, padding=1, color=INK)
        right.margins(y=0.12)
        right.grid(visible=False, axis="x")
        right.set(xlabel="L1 distance d = |predicted − true|", ylabel="examples")

    counts = ", ".join(f"{label}: {count:,}" for label, count in distances.items())
    about = Figure(
        name, heading, subject,
        f"True against predicted values, r = {r}; examples by distance: {counts}.",
        "Dashed: predicted = true. The groups' limits are "
        f"{', '.join(f'{limit:g}' for limit in LIMITS)} on the labels' scale of "
        f"{head.low:g} to {head.high:g}; the paper does not print its own.",
    )  # fmt: skip
    return draw(about, paint)


def distance_groups(distances: pd.Series) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    between = [f"{a:g} < d ≤ {b:g}" for a, b in pairwise(LIMITS)]
    names = [f"d ≤ {LIMITS[0]:g}", *between, f"d > {LIMITS[-1]:g}"]
    return dict(pd.cut(distances, [-1, *LIMITS, np.inf], labels=names).value_counts(sort=False))
