"""Intervals and tests against scipy's, closed testing, and resamples that are taken row by row."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl_bert.analysis import statistics as own

RNG = np.random.default_rng(3)
N = 60


@pytest.mark.parametrize("batch", [own._GATHERED, 1])  # at once, and one resample at a time
def test_every_model_sees_the_same_resamples(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, models = RNG.normal(size=N), RNG.normal(size=(4, N))
    monkeypatch.setattr(own, "RESAMPLES", 25)
    monkeypatch.setattr(own, "_GATHERED", batch)
    rows = np.random.default_rng([own.SEED, 5]).integers(0, N, (25, N))
    wanted = [[stats.pearsonr(labels[r], model[r]).statistic for r in rows] for model in models]
    assert own.bootstrap("pearson", labels, models, 5) == pytest.approx(np.array(wanted))


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
