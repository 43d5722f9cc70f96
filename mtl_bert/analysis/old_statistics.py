"""How sure a difference is: resampled dev examples, and the spread over seeds.

Shapes: M models (a method's seeds, all methods'), N dev examples, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import stats

from mtl_bert.analysis.numbers import Floats

LEVEL = 0.95
RESAMPLES = 2_000
SEED = 20_240_229
_GATHERED = 4_000_000  # numbers that one batch of resamples may take: 32 MB


def accuracy(labels: Floats, predictions: Floats) -> Floats:
    """The share of right answers, along the last axis."""
    return np.asarray(np.mean(labels == predictions, axis=-1))


def pearson(labels: Floats, predictions: Floats) -> Floats:
    """Pearson's r along the last axis; 0 where it is undefined (docs/paper.md, 13)."""
    x = labels - labels.mean(-1, keepdims=True)
    y = predictions - predictions.mean(-1, keepdims=True)
    covariance = (x * y).sum(-1)
    norm = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    # Rounding leaves constant numbers a hair's breadth from their mean.
    scale = np.abs(labels).max(-1) * np.abs(predictions).max(-1) * labels.shape[-1]
    defined = norm > 1e-13 * scale
    return np.asarray(np.where(defined, covariance / np.where(defined, norm, 1.0), 0.0))


METRICS = {"accuracy": accuracy, "pearson": pearson}


@final
@dataclass(frozen=True)
class Interval:
    """Where a number lies, at the level of confidence."""

    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        """The ends, with signs."""
        return f"{self.low:+.3f} to {self.high:+.3f}".replace("-", "−")


def bootstrap(metric: str, labels: Floats, predictions: Floats, stream: int) -> Floats:
    """A metric of M models on R resamples of the same dev set: [M, R].

    Every model sees the same resamples, so that rows may be subtracted from each other.

    Args:
        metric: a name from ``METRICS``.
        labels: [N].
        predictions: [M, N].
        stream: tells tasks apart, whose dev sets are resampled independently.
    """
    rng, n = np.random.default_rng([SEED, stream]), len(labels)
    hits = labels == predictions  # of accuracy: a byte for each instead of two numbers
    batch = max(1, _GATHERED // predictions.size)
    parts = []
    for start in range(0, RESAMPLES, batch):
        rows = rng.integers(0, n, (min(batch, RESAMPLES - start), n))
        if metric == "accuracy":
            parts.append(np.count_nonzero(hits[:, rows], axis=-1) / n)
        else:
            parts.append(METRICS[metric](labels[rows], predictions[:, rows]))
    return np.concatenate(parts, axis=-1)


def percentile_interval(distribution: Floats) -> Interval:
    """The middle of a bootstrap distribution [R]."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(distribution, [tail, 100 - tail])
    return Interval(float(low), float(high))


def seed_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """The mean difference of values paired by seed, by Student's t; None with fewer than 2."""
    if len(first) < 2:
        return None
    differences = np.subtract(first, second)
    if np.ptp(differences) < 1e-12:  # no spread at all: scipy would divide by it
        mean = float(differences.mean())
        return Interval(mean, mean)
    found = stats.ttest_rel(first, second).confidence_interval(LEVEL)
    return Interval(float(found.low), float(found.high))
