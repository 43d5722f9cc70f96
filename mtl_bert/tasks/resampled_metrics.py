"""The metrics of :mod:`mtl_bert.tasks.metrics` on many resamples of a dev set at once, in numpy.

Shapes: M models, N examples, R resamples, C classes or labels. Of several labels at once labels
are [N, C] in place of [N], and predictions [M, N, C].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOLERANCE = 2e-6  # between a recorded metric and the one of its prediction file
Metric = Callable[[Floats, Floats, Floats], Floats]
"""Of labels [N], predictions [M, N] and how often a resample has each example [R, N]: [M, R]."""


def _ratio(above: Floats, below: Floats, scale: Floats | float = 1.0) -> Floats:
    """The quotient; 0 where the denominator is rounding's (docs/explanation/paper.md, 13)."""
    defined = below > 1e-13 * scale
    return np.asarray(np.where(defined, above / np.where(defined, below, 1.0), 0.0))


def pearson(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """Pearson's r; 0 where it is undefined."""
    weights = counts.T / counts.sum(-1)
    # Sums of centred numbers keep their digits.
    x, y = labels - labels.mean(), predictions - predictions.mean(-1, keepdims=True)
    mean_x, mean_y = x @ weights, y @ weights
    spread = ((x * x) @ weights - mean_x**2) * ((y * y) @ weights - mean_y**2)
    scale = np.abs(labels).max() * np.abs(predictions).max(-1, keepdims=True)
    return _ratio((x * y) @ weights - mean_x * mean_y, np.sqrt(np.maximum(spread, 0)), scale)


def _ranks(values: Floats, counts: Floats) -> Floats:
    """The rank of every example within each resample, less the mean rank; ties share it: [R, N]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    mean = (counts.sum(-1, keepdims=True) + 1) / 2
    return np.asarray((np.cumsum(sizes, axis=1) - sizes / 2 + 0.5)[:, group] - mean)


def spearman(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """Pearson's r of the ranks within each resample; ties share their mean rank."""
    x, found = _ranks(labels, counts), []
    for y in (_ranks(each, counts) for each in predictions):
        xy, xx, yy = ((counts * a * b).sum(-1) for a, b in ((x, y), (x, x), (y, y)))
        found.append(_ratio(xy, np.sqrt(xx * yy)))
    return np.array(found)


class _Counts(NamedTuple):
    """How often each class, or each of several labels, stands in resamples: [M, R, C]."""

    right: Floats  # predicted and true
    told: Floats  # predicted
    true: Floats
    n: Floats  # examples of each resample: [R]

    @property
    def both(self) -> Floats:
        """Predicted and true ones together."""
        return self.told + self.true

    @property
    def f1(self) -> Floats:
        """The F1 of each; 0 where it is undefined."""
        return _ratio(2 * self.right, self.both)

    def mcc(self) -> Floats:
        """Matthews' correlation of any number of classes; 0 where it is undefined."""
        told, true = (self.n**2 - (each**2).sum(-1) for each in (self.told, self.true))
        above = self.n * self.right.sum(-1) - (self.told * self.true).sum(-1)
        return _ratio(above, np.sqrt(np.maximum(told * true, 0)), self.n**2)


def _counted(formula: Callable[[_Counts], Floats]) -> Metric:
    """A metric that follows from each class's counts, classes in rising order."""

    def metric(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
        if labels.ndim == 1:
            classes = np.union1d(labels, predictions)
            true, told = labels[:, None] == classes, predictions[..., None] == classes
        else:
            true, told = labels == 1, predictions == 1
        right, told, true = (counts @ each.astype(float) for each in (told & true, told, true))
        return np.asarray(formula(_Counts(right, told, true, counts.sum(-1))))

    return metric


def _share(right: Callable[[NDArray[np.bool_]], Any]) -> Metric:
    """A share of answers; ``right`` says of an answer's labels how right it is: 0 to 1."""

    def metric(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
        return np.asarray(right(labels == predictions) @ counts.T / counts.sum(-1))

    return metric


METRICS: dict[str, Metric] = {
    "accuracy": _share(lambda same: same),
    "pearson": pearson,
    "spearman": spearman,
    "f1": _counted(lambda c: c.f1[..., -1]),  # of the highest class, as of two the second
    "macro_f1": _counted(lambda c: c.f1.sum(-1) / np.maximum((c.both > 0).sum(-1), 1)),
    "mcc": _counted(_Counts.mcc),
}
"""Of one answer for each example; macro F1 is the mean over the classes that there are."""
OF_LABELS: dict[str, Metric] = {
    **dict.fromkeys(
        ("f1", "f1_micro"), _counted(lambda c: _ratio(2 * c.right.sum(-1), c.both.sum(-1)))
    ),
    "f1_macro": _counted(lambda c: c.f1.mean(-1)),
    "accuracy": _share(lambda same: same.mean(-1)),
    "exact_match": _share(lambda same: same.all(-1)),
    "precision": _counted(lambda c: _ratio(c.right.sum(-1), c.told.sum(-1))),
    "recall": _counted(lambda c: _ratio(c.right.sum(-1), c.true.sum(-1))),
}
"""Of several labels at once, over all of them unless it says macro, by ``tasks.metrics``' names."""


def _known(labels: Floats) -> dict[str, Metric]:
    return METRICS if labels.ndim == 1 else OF_LABELS


def metric_of(metric: str, labels: Floats) -> Metric:
    """A metric by its name, or the mean of several by theirs, accuracy+f1."""
    parts = [_known(labels)[name] for name in metric.split("+")]

    def mean(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
        return np.asarray(np.mean([part(labels, predictions, counts) for part in parts], axis=0))

    return mean if len(parts) > 1 else parts[0]


def whole(metric: str, labels: Floats, predictions: Floats) -> Floats:
    """A metric of M models [M, N] on the whole dev set: [M]."""
    return metric_of(metric, labels)(labels, predictions, np.ones((1, len(labels))))[:, 0]


def recognise(name: str, labels: Floats, predictions: Floats, recorded: float) -> str:
    """The metric that predictions [N] give the recorded value of, or nothing; ``name`` comes first.

    A metric may bear any name in a task's settings, so it is known by what it says of the answers.
    A mean of several is known where their names are.
    """
    several, metrics = name.split("+"), _known(labels)
    means = [name] if len(several) > 1 and metrics.keys() >= {*several} else []
    for known in [*means, *sorted(metrics, key=lambda key: key != name)]:
        if abs(whole(known, labels, predictions[None])[0] - recorded) <= TOLERANCE:
            return known
    return ""
