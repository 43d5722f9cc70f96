"""Metrics of resamples against those of the resamples' rows, taken one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mtl_bert.tasks import MultiLabel
from mtl_bert.tasks import resampled_metrics as own
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


def counts(rows: Any) -> Any:
    """How often each example stands in each resample."""
    return np.array([np.bincount(each, minlength=rows.shape[1]) for each in rows], float)


@pytest.mark.parametrize("metric", own.METRICS)
def test_a_resample_is_the_metric_of_its_rows(metric: str) -> None:
    labels, models = data(metric)
    rows = RNG.integers(0, N, (25, N))
    drawn = own.metric_of(metric, labels)(labels, models, counts(rows))
    wanted = [[REFERENCES[metric](labels[r], model[r]) for r in rows] for model in models]
    assert drawn == pytest.approx(np.array(wanted))


@pytest.mark.parametrize("metric", [*own.OF_LABELS, "f1_macro+exact_match"])
def test_of_several_labels_a_resample_is_torchmetrics_of_its_rows(
    metric: str,
) -> None:
    rows = RNG.integers(0, N, (15, N))
    drawn = own.metric_of(metric, LABELS)(LABELS, TOLD, counts(rows))
    head = MultiLabel(["a", "b", "c", "d"])

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
    resamples = labels, answers[None], counts(rng.integers(0, 40, (25, 40)))
    together = own.metric_of(name, labels)(*resamples)
    each = [own.metric_of(part, labels)(*resamples) for part in parts]
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-12)
