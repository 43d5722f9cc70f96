"""Intervals against brute force, closed forms and other implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl_bert.analysis.numbers import spread
from mtl_bert.analysis.old_statistics import (
    RESAMPLES,
    Floats,
    Interval,
    accuracy,
    bootstrap,
    pearson,
    percentile_interval,
    seed_interval,
)


def models(metric: str, n: int, quality: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Labels [n] and predictions [models, n]."""
    rng = np.random.default_rng(3)
    if metric == "accuracy":
        labels = rng.integers(0, 3, n).astype(float)
        shared = rng.uniform(size=n)  # hard examples are hard for all
        hit = [0.5 * shared + 0.5 * rng.uniform(size=n) < q for q in quality]
        return labels, np.where(hit, labels, labels + 1)
    labels = rng.uniform(0, 5, n)
    shared = rng.normal(size=n)
    return labels, np.stack([labels + q * (shared + rng.normal(size=n)) for q in quality])


def brute_force(metric: str, labels: Floats, predictions: Floats, resamples: int) -> Floats:
    """Each model's metric on the same resamples, one resample after another: [models, R]."""
    rng = np.random.default_rng(99)
    columns = []
    for _ in range(resamples):
        rows = [int(rng.integers(len(labels))) for _ in labels]
        if metric == "accuracy":
            columns.append([sum(labels[i] == p[i] for i in rows) / len(rows) for p in predictions])
        else:
            columns.append([np.corrcoef(labels[rows], p[rows])[0, 1] for p in predictions])
    return np.array(columns).T


@pytest.mark.parametrize(("metric", "quality"), [("accuracy", (0.6, 0.5)), ("pearson", (1.0, 1.5))])
def test_the_bootstrap_is_that_of_a_plain_loop(metric: str, quality: tuple[float, ...]) -> None:
    labels, predictions = models(metric, 120, quality)
    ours = bootstrap(metric, labels, predictions, 0)
    theirs = brute_force(metric, labels, predictions, 1500)
    assert ours.shape == (2, RESAMPLES)
    a, b = ours[0] - ours[1], theirs[0] - theirs[1]
    sd = b.std()
    assert abs(a.mean() - b.mean()) < 0.12 * sd
    assert a.std() == pytest.approx(sd, rel=0.08)
    found, expected = percentile_interval(a), np.percentile(b, [2.5, 97.5])
    assert [found.low, found.high] == pytest.approx(expected, abs=0.25 * sd)
    # Without pairing, the interval would be another one: the test can tell them apart.
    assert np.hypot(theirs[0].std(), theirs[1].std()) > 1.15 * sd


def test_the_spread_of_an_accuracy_difference_is_the_normal_approximations() -> None:
    labels, predictions = models("accuracy", 800, (0.6, 0.5))
    drawn = bootstrap("accuracy", labels, predictions, 1)
    hits = (predictions == labels).astype(float)
    d = hits[0] - hits[1]
    closed = math.sqrt((np.mean(d**2) - np.mean(d) ** 2) / len(d))
    difference = drawn[0] - drawn[1]
    assert difference.std() == pytest.approx(closed, rel=0.06)
    half = 1.959964 * closed
    found = percentile_interval(difference)
    assert [found.low, found.high] == pytest.approx([d.mean() - half, d.mean() + half], abs=0.005)


def test_models_share_their_resamples_and_tasks_do_not() -> None:
    labels, predictions = models("pearson", 50, (1.0, 2.0))
    twice = np.stack([predictions[0], predictions[1], predictions[0]])
    drawn = bootstrap("pearson", labels, twice, 0)
    assert np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(drawn, bootstrap("pearson", labels, twice, 0))
    other = bootstrap("pearson", labels, twice, 1)
    assert abs(np.corrcoef(drawn[0], other[0])[0, 1]) < 0.1


def test_batches_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predictions = models("accuracy", 60, (0.6, 0.5))
    whole = bootstrap("accuracy", labels, predictions, 0)
    monkeypatch.setattr("mtl_bert.analysis.old_statistics._GATHERED", 1)
    assert np.array_equal(whole, bootstrap("accuracy", labels, predictions, 0))


numbers = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=3, max_size=20)


@given(numbers)
def test_pearson_is_scipys_where_it_is_defined(values: list[float]) -> None:
    rng = np.random.default_rng(len(values))
    labels, predictions = np.array(values), np.array(values) + rng.normal(size=len(values))
    if np.ptp(labels) == 0:
        assert pearson(labels, predictions) == 0
    else:
        r = stats.pearsonr(labels, predictions).statistic
        assert float(pearson(labels, predictions)) == pytest.approx(r, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 2.4, 1 / 3, 1e-9])
def test_an_undefined_r_counts_as_0(constant: float) -> None:
    labels = np.linspace(0, 5, 863)
    assert pearson(labels, np.full(863, constant)) == 0
    assert pearson(np.full(863, constant), labels) == 0


def test_accuracy_counts() -> None:
    assert accuracy(np.array([0.0, 1, 2, 2]), np.array([0.0, 1, 1, 2])) == 0.75


def test_the_seed_interval_is_students() -> None:
    first, second = [0.72, 0.75, 0.71, 0.74], [0.70, 0.70, 0.72, 0.71]
    d = np.subtract(first, second)
    half = 3.182446 * d.std(ddof=1) / 2  # t of 3 degrees of freedom; the root of 4 seeds
    found = seed_interval(first, second)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([d.mean() - half, d.mean() + half], abs=1e-6)


def test_the_seed_interval_needs_two_seeds_and_bears_equal_differences() -> None:
    assert seed_interval([0.7], [0.6]) is None
    assert seed_interval([], []) is None
    found = seed_interval([0.7, 0.8], [0.6, 0.7])
    assert found is not None
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_sign_of_an_interval(a: float, b: float) -> None:
    interval = Interval(min(a, b), max(a, b))
    assert interval.sign == (1 if min(a, b) > 0 else -1 if max(a, b) < 0 else 0)


def test_one_value_has_no_spread() -> None:
    assert spread(np.array([0.5])) is None
    assert spread(np.array([0.4, 0.6])) == pytest.approx(math.sqrt(0.02))
