"""Intervals and tests against scipy's, closed testing, and resamples that are taken row by row."""

from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl_bert.analysis import statistics as own
from mtl_bert.tasks import MultiLabel
from mtl_bert.tasks.metrics import by_name

RNG = np.random.default_rng(3)
N = 60
CLASSES = RNG.integers(0, 3, N).astype(float)
ANSWERS = np.where(RNG.random((4, N)) < 0.6, CLASSES, RNG.integers(0, 3, (4, N)))
NUMBERS = RNG.integers(0, 12, N) / 2.0
GUESSES = NUMBERS + RNG.normal(0, 1.5, (4, N)).round(1)


def f1_of(y: Any, x: Any, c: float) -> float:
    right, errors = np.sum((y == c) & (x == c)), np.sum((y == c) != (x == c))
    return float(2 * right / (2 * right + errors)) if right else 0.0


def mcc_of(y: Any, x: Any) -> float:
    """The correlation of the indicators of all classes, by its definition."""
    a, b = ((v[:, None] == np.arange(3)).astype(float) for v in (y, x))
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


REFERENCES = {
    "accuracy": lambda y, x: np.mean(y == x),
    "pearson": lambda y, x: stats.pearsonr(y, x).statistic,
    "spearman": lambda y, x: stats.spearmanr(y, x).statistic,
    "f1": lambda y, x: f1_of(y, x, 2),
    "macro_f1": lambda y, x: np.mean([f1_of(y, x, c) for c in np.union1d(y, x)]),
    "mcc": mcc_of,
}


LABELS = RNG.integers(0, 2, (N, 4)).astype(float)
LABELS[:, 3] = 0  # one that is never there, nor said by the first model
TOLD = np.where(RNG.random((4, N, 4)) < 0.7, LABELS, 1 - LABELS)
TOLD[0, :, 3] = 0


def data(metric: str) -> tuple[Any, Any]:
    return (NUMBERS, GUESSES) if metric in ("pearson", "spearman") else (CLASSES, ANSWERS)


@pytest.mark.parametrize("metric", own.METRICS)
def test_a_resample_is_the_metric_of_its_rows(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, models = data(metric)
    monkeypatch.setattr(own, "RESAMPLES", 25)
    drawn = own.bootstrap(metric, labels, models, 5)
    rows = np.random.default_rng([own.SEED, 5]).integers(0, N, (25, N))
    wanted = [[REFERENCES[metric](labels[r], model[r]) for r in rows] for model in models]
    assert drawn == pytest.approx(np.array(wanted))
    monkeypatch.setattr(own, "_GATHERED", 1)  # one resample at a time
    assert own.bootstrap(metric, labels, models, 5) == pytest.approx(drawn)


@pytest.mark.parametrize("metric", [*own.OF_LABELS, "f1_macro+exact_match"])
def test_of_several_labels_a_resample_is_torchmetrics_of_its_rows(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "RESAMPLES", 15)
    drawn = own.bootstrap(metric, LABELS, TOLD, 5)
    head = MultiLabel(["a", "b", "c", "d"])
    rows = np.random.default_rng([own.SEED, 5]).integers(0, N, (15, N))

    def wanted(model: Any, r: Any) -> float:
        told, true = torch.tensor(model[r]).long(), torch.tensor(LABELS[r]).long()
        return float(np.mean([by_name(name, head)()(told, true) for name in metric.split("+")]))

    assert drawn == pytest.approx(np.array([[wanted(m, r) for r in rows] for m in TOLD]), abs=1e-6)
    (value,) = own.whole(metric, LABELS, TOLD[1:2])
    assert own.recognise(metric, LABELS, TOLD[1], value) == metric
    assert own.recognise("average_precision", LABELS, TOLD[1], value + 1e-3) == ""


def test_what_is_undefined_is_zero() -> None:
    constant = np.full((1, N), 2.0)
    assert own.whole("pearson", NUMBERS, constant + 0.1)[0] == 0
    assert own.whole("spearman", NUMBERS, constant)[0] == 0
    assert own.whole("mcc", CLASSES, constant)[0] == 0
    assert own.whole("f1", np.zeros(N), np.zeros((1, N)))[0] == 1  # the one class there is


@pytest.mark.parametrize("metric", own.METRICS)
def test_a_metric_is_known_by_what_was_recorded(metric: str) -> None:
    labels, models = data(metric)
    (value,) = own.whole(metric, labels, models[:1])
    assert own.recognise("whatever it is called", labels, models[0], value) == metric
    assert own.recognise(metric, labels, models[0], value + 1e-3) == ""


@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=8), st.floats(0.01, 0.5)
)
def test_paired_is_scipys(differences: list[float], margin: float) -> None:
    values = np.array(differences)
    if np.ptp(values) < 1e-6:
        return
    found, zero = own.paired(values, margin), np.zeros(len(values))
    test = stats.ttest_rel(values, zero)
    assert (found.n, found.mean) == (len(values), pytest.approx(values.mean()))
    assert found.p == pytest.approx(test.pvalue, abs=1e-12)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(own.LEVEL)))
    sides = [stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
             stats.ttest_1samp(values, margin, alternative="less").pvalue]  # fmt: skip
    assert found.p_equivalent == pytest.approx(max(sides), abs=1e-12)


def test_few_seeds_say_nothing_and_equal_ones_all() -> None:
    assert own.paired(np.array([]), 0.01).n == 0
    one = own.paired(np.array([0.3]), 0.01)
    assert (one.mean, one.interval.sign) == (0.3, 0)
    assert np.isnan([one.p, one.p_equivalent]).all()
    same = own.paired(np.full(3, 0.02), 0.01)
    assert (same.p, same.p_equivalent, same.interval) == (0, 1, pytest.approx((0.02, 0.02)))
    assert own.paired(np.zeros(3), 0.01)[3:] == (1, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p: list[float]) -> None:
    places = range(len(p))
    subsets = chain.from_iterable(combinations(places, r) for r in range(1, len(p) + 1))
    joint = {s: min(1.0, len(s) * min(p[i] for i in s)) for s in subsets}
    wanted = [max(value for s, value in joint.items() if i in s) for i in places]
    assert own.holm(p) == pytest.approx(wanted)
    assert own.holm([*p, np.nan])[:-1] == pytest.approx(wanted)


def test_percentiles_are_nested() -> None:
    wide, narrow = own.percentiles(RNG.normal(1, 0.1, 4_000))
    assert wide.low < narrow.low < 1 < narrow.high < wide.high
    assert (wide.sign, narrow.within(1.3), narrow.within(1)) == (1, True, False)
    assert wide.low == pytest.approx(1 - 0.196, abs=0.02)


@pytest.mark.parametrize("name", ["accuracy+f1", "pearson+spearman"])
def test_a_mean_of_metrics_is_known_and_resampled_as_one(name: str) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 40).astype(float)
    answers = np.where(rng.random(40) < 0.7, labels, 1 - labels)
    if name != "accuracy+f1":
        answers = answers + rng.normal(size=40)
    parts = name.split("+")
    recorded = np.mean([own.whole(part, labels, answers[None])[0] for part in parts])
    assert own.recognise(name, labels, answers, recorded) == name
    assert own.recognise(name, labels, answers, recorded + 0.1) == ""
    together = own.bootstrap(name, labels, answers[None], 0)
    each = [own.bootstrap(part, labels, answers[None], 0) for part in parts]
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-12)
    low, high = own.percentiles(together[0])[0]
    assert low < recorded < high
