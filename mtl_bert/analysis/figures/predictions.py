"""The paper's Figures 2 to 4: what a run answers on the dev sets.

Shapes: N dev examples, C classes.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures import style
from mtl_bert.analysis.figures.canvas import PAGE, Words, draw
from mtl_bert.analysis.figures.heat_maps import Colours, paint_heat
from mtl_bert.analysis.numbers import Floats, metric
from mtl_bert.analysis.run_files import Classes, Predictions, Run, Scale
from mtl_bert.analysis.statistics import pearson
from mtl_bert.analysis.studies import Subject

SHARES = Colours("Blues", 0, 1, lambda value: f"{value:.2f}")
"""Of something that is neither good nor bad."""
DISTANCES = (0.5, 1.0, 2.0)
BLUE = "#0072B2"
_MANY = 5_000  # points that an SVG should not hold one by one


def confusion(labels: Floats, predictions: Floats, classes: int) -> Floats:
    """Counts of true (rows) and predicted (columns) classes: [C, C]."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels.astype(int), predictions.astype(int)), 1)
    return counts


def normalised(counts: Floats) -> Floats:
    """Each row as shares of its sum; rows without examples are 0: [C, C]."""
    sums = counts.sum(1, keepdims=True)
    return np.asarray(np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0))


def confusion_figure(
    name: str,
    heading: str,
    subject: Subject,
    run: Run,
    task: str,
    head: Classes,
    found: Predictions,
) -> Figure:
    """Figures 2 and 3: a row-normalised confusion matrix and how often each class is trained on."""
    counts = confusion(found.labels, found.predictions, len(head.names))
    shares = normalised(counts)
    given = run.results.data.train_labels[task]
    numbers = [given.get(label, 0) for label in head.names]
    short = [label.replace(" ", "\n") for label in head.names]

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.25, 1))
        paint_heat(left, shares, short, short, SHARES)
        left.set(xlabel="predicted", ylabel="true", title="share of the true class")
        _bars(right, numbers, short)

    diagonal = "; ".join(
        f"{label} {share:.0%}" for label, share in zip(head.names, shares.diagonal(), strict=True)
    )
    return draw(
        Words(
            name, heading, subject,
            f"Confusion matrix of {task}; right answers by true class: {diagonal}. "
            f"Counts of training labels: {dict(zip(head.names, numbers, strict=True))}.",
            "Left: each true class is a row that adds up to 1. Right: the training labels.",
        ),
        paint,
        width=PAGE,
        height=2.9 if len(short) > 2 else 2.3,
    )  # fmt: skip


def _bars(axes: Axes, numbers: list[int], names: list[str]) -> None:
    """Bars that lie in the rows of the matrix beside them."""
    places = np.arange(len(names)) + 0.5
    bars = axes.barh(places, numbers, color=BLUE, height=0.7)
    axes.bar_label(bars, [f"{n:,}" for n in numbers], fontsize=6.5, padding=2, color=style.INK)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names), 0)
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.margins(x=0.18)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="examples", title="training labels")


def scatter_figure(
    name: str, heading: str, subject: Subject, task: str, head: Scale, found: Predictions
) -> Figure:
    """Figure 4: true against predicted values, and how far they lie apart."""
    r = float(pearson(found.labels, found.predictions))
    groups = distance_groups(found.labels, found.predictions)

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.1, 1))
        ends = [head.low, head.high]
        left.plot(ends, ends, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
        left.scatter(
            found.labels, found.predictions, s=7, color=BLUE, alpha=0.4, linewidths=0,
            rasterized=len(found.labels) > _MANY,
        )  # fmt: skip
        left.set(
            xlabel="true",
            ylabel="predicted",
            title=f"Pearson r = {metric(r)}, N = {len(found.ids):,}",
        )
        places = np.arange(len(groups))
        bars = right.bar(places, list(groups.values()), color=BLUE, width=0.7)
        labels = [f"{count:,}" for count in groups.values()]
        right.bar_label(bars, labels, fontsize=6.5, padding=1, color=style.INK)
        right.set_xticks(places, list(groups))
        right.tick_params(axis="x", length=0)
        right.margins(y=0.12)
        right.grid(visible=False, axis="x")
        right.set(
            xlabel="L1 distance d = |predicted − true|", ylabel="examples", title="how far apart"
        )

    counts = ", ".join(f"{label}: {count:,}" for label, count in groups.items())
    return draw(
        Words(
            name, heading, subject,
            f"True against predicted values of {task}, r = {metric(r)}; examples by distance: "
            f"{counts}.",
            "Dashed: predicted = true. The groups' limits are "
            f"{', '.join(f'{d:g}' for d in DISTANCES)} on the labels' scale of "
            f"{head.low:g} to {head.high:g}; the paper does not print its own.",
        ),
        paint,
    )  # fmt: skip


def distance_groups(labels: Floats, predictions: Floats) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    first, *_, last = DISTANCES
    names = [f"d ≤ {first:g}"]
    names += [f"{a:g} < d ≤ {b:g}" for a, b in pairwise(DISTANCES)]
    places = np.searchsorted(DISTANCES, np.abs(predictions - labels), side="left")
    counts = np.bincount(places, minlength=len(DISTANCES) + 1)
    return dict(zip([*names, f"d > {last:g}"], counts.tolist(), strict=True))
