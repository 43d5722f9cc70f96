"""How sure a difference is: over seeds by Student's t, over dev examples by the bootstrap.

Shapes: M models (a method's seeds, all methods'), N dev examples, R resamples, S seeds. Of several
labels at once labels are [N, C] in place of [N], and predictions [M, N, C].
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t: its distribution, and the inverse

from mtl_bert.tasks.resampled_metrics import Floats, metric_of

LEVEL = 0.95
RESAMPLES = 2_000
SEED = 20_240_229
_GATHERED = 4_000_000  # numbers that one batch of resamples may take: 32 MB


def bootstrap(metric: str, labels: Floats, predictions: Floats, stream: int) -> Floats:
    """A metric of M models [M, N] on R resamples of the same dev set: [M, R].

    Every model sees the same resamples, so that rows may be subtracted from each other; ``stream``
    tells tasks apart, whose dev sets are resampled independently.
    """
    rng, n = np.random.default_rng([SEED, stream]), len(labels)
    batch, parts = max(1, _GATHERED // n), []
    for start in range(0, RESAMPLES, batch):
        drawn = rng.integers(0, n, (min(batch, RESAMPLES - start), n))
        places = drawn + n * np.arange(len(drawn))[:, None]
        counts = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)
        parts.append(metric_of(metric, labels)(labels, predictions, counts.astype(np.float64)))
    return np.concatenate(parts, axis=-1)


class Interval(NamedTuple):
    """Where a number lies; NaN where that is not known."""

    low: float = np.nan
    high: float = np.nan

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def within(self, margin: float) -> bool:
        """Whether all of it lies closer to 0 than the margin."""
        return -margin < self.low and self.high < margin


def percentiles(distribution: Floats) -> tuple[Interval, Interval]:
    """The middle of a bootstrap distribution [R]: 95 %, and the 90 % of two one-sided tests."""
    tail = (1 - LEVEL) / 2
    ends = np.quantile(distribution, [tail, 1 - tail, 2 * tail, 1 - 2 * tail]).tolist()
    return Interval(*ends[:2]), Interval(*ends[2:])


class Paired(NamedTuple):
    """What differences say that are paired by seed; NaN where there are too few."""

    n: int  # common seeds
    mean: float
    interval: Interval = Interval()  # of the mean, by Student's t
    p: float = np.nan  # that the mean is 0, two-sided
    p_equivalent: float = np.nan  # that it is outside the margin: two one-sided tests (TOST)


def paired(differences: Floats, margin: float) -> Paired:
    """Judge the mean of differences [S]."""
    n, mean = len(differences), float(np.mean(differences)) if len(differences) else np.nan
    if n < 2:
        return Paired(n, mean)
    if np.ptp(differences) < 1e-12:  # no spread at all: there is no t to speak of
        equal, outside = float(abs(mean) < 1e-12), float(abs(mean) >= margin)
        return Paired(n, mean, Interval(mean, mean), equal, outside)
    error = float(np.std(differences, ddof=1)) / n**0.5
    half = error * stdtrit(n - 1, (1 + LEVEL) / 2)
    p = 2 * stdtr(n - 1, -abs(mean) / error)
    outside = stdtr(n - 1, (abs(mean) - margin) / error)  # the nearer margin's is the larger
    return Paired(n, mean, Interval(mean - half, mean + half), float(p), float(outside))


def holm(p_values: Sequence[float]) -> Floats:
    """Holm's adjustment of a family of p values; NaN belongs to no family."""
    p = np.array(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    p[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return p
