"""The paper's Figures 2 to 4: what a run answers on the dev sets."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import INK, SERIES, draw
from mtl_bert.analysis.figures.kinds import heat_map, rows
from mtl_bert.analysis.numbers import Floats, metric
from mtl_bert.analysis.run_files import Classes, Predictions, Scale
from mtl_bert.analysis.statistics import pearson
from mtl_bert.analysis.studies import Subject

LIMITS = (0.5, 1.0, 2.0)
_MANY = 5_000  # points that an SVG should not hold one by one


def confusion(labels: Floats, predictions: Floats, names: tuple[str, ...]) -> pd.DataFrame:
    """Shares of each true class (rows) by predicted class; rows without examples are 0."""
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (labels.astype(int), predictions.astype(int)), 1)
    return pd.DataFrame(counts / counts.sum(1, keepdims=True).clip(1), names, names)


def confusion_figure(
    name: str, heading: str, subject: Subject, given: dict[str, int], head: Classes,
    found: Predictions,
) -> Figure:  # fmt: skip
    """Figures 2 and 3: a row-normalised confusion matrix and the training labels of each class."""
    shares = confusion(found.labels, found.predictions, head.names)
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
    name: str, heading: str, subject: Subject, head: Scale, found: Predictions
) -> Figure:
    """Figure 4: true against predicted values, and how far they lie apart."""
    r = metric(float(pearson(found.labels, found.predictions)))
    distances = distance_groups(found.labels, found.predictions)

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.1, 1))
        ends = [head.low, head.high]
        left.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        left.scatter(
            found.labels, found.predictions, s=7, color=SERIES[0], alpha=0.4, linewidths=0,
            rasterized=len(found.labels) > _MANY,
        )  # fmt: skip
        title = f"Pearson r = {r}, N = {len(found.ids):,}"
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


def distance_groups(labels: Floats, predictions: Floats) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    names = [f"d ≤ {LIMITS[0]:g}"]
    names += [f"{a:g} < d ≤ {b:g}" for a, b in pairwise(LIMITS)]
    names += [f"d > {LIMITS[-1]:g}"]
    places = np.searchsorted(LIMITS, np.abs(predictions - labels), side="left")
    counts = np.bincount(places, minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=True))
