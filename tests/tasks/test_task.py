"""Metrics, and the score that they make; the tasks are those that conf/task describes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mtl_bert.runs.factories import make_tasks
from mtl_bert.tasks import MetricRange, score
from tests.composing import settings_of
from tests.factories import make_task


@pytest.fixture(scope="module")
def tasks():
    return make_tasks(settings_of("task=[sst,qqp,sts]"))


@pytest.fixture(scope="module")
def sst(tasks):
    return tasks[0]


@pytest.fixture(scope="module")
def qqp(tasks):
    return tasks[1]


@pytest.fixture(scope="module")
def sts(tasks):
    return tasks[2]


def test_the_tasks_keep_the_order_in_which_they_are_chosen(tasks):
    assert [task.name for task in tasks] == ["sst", "qqp", "sts"]
    assert [task.name for task in make_tasks(settings_of("task=[sts,sst]"))] == ["sts", "sst"]


@pytest.mark.parametrize(
    ("sst", "qqp", "sts", "published"),
    [(0.528, 0.829, 0.869, 0.764), (0.144, 0.547, -0.023, 0.393)],
    ids=["rr", "random"],
)
def test_the_score_gives_the_published_column(tasks, sst, qqp, sts, published):
    values = {"sst": sst, "qqp": qqp, "sts": sts}
    assert round(score(tasks, values), 3) == published
    assert score(tasks, values) == pytest.approx((sst + qqp + (sts + 1) / 2) / 3)


@pytest.mark.parametrize(
    ("low", "high", "value", "unit"),
    [(-1, 1, -1, 0), (-1, 1, 1, 1), (-1, 1, 0, 0.5), (0, 1, 0.3, 0.3), (0, 100, 25, 0.25)],
)
def test_a_metrics_range_is_mapped_to_the_unit_interval(low, high, value, unit):
    task = replace(make_task(), score=MetricRange(low, high))
    assert score([task], {"toy": value}) == pytest.approx(unit)


def test_accuracy_of_classes_is_over_examples_not_classes(sst):
    predictions, labels = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 4, 4])
    assert sst.evaluate(predictions, labels) == (pytest.approx(3 / 5), None)


def test_accuracy_of_yes_and_no(qqp):
    predictions, labels = torch.tensor([0, 1, 1, 1]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert qqp.evaluate(predictions, labels) == (pytest.approx(3 / 4), None)


def test_pearson_against_numpy(sts):
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 200)
    predictions = labels + rng.normal(0, 2, 200)
    value, remark = sts.evaluate(torch.from_numpy(predictions), torch.from_numpy(labels))
    assert value == pytest.approx(np.corrcoef(predictions, labels)[0, 1], abs=1e-12)
    assert remark is None


def test_pearson_of_single_precision_outputs_is_computed_in_double(sts):
    """Predictions that hardly differ are what an untrained model gives."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 500).astype(np.float32)
    predictions = (2.5 + 1e-4 * rng.normal(size=500)).astype(np.float32)
    value, _ = sts.evaluate(torch.from_numpy(predictions), torch.from_numpy(labels))
    expected = np.corrcoef(predictions.astype(np.float64), labels.astype(np.float64))[0, 1]
    assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 1.1, 2.7, -0.3, 1e-5])
@pytest.mark.parametrize("count", [1, 7, 50, 863])
def test_an_undefined_pearson_counts_as_0_and_is_remarked_upon(sts, constant, count):
    """Equal predictions in single precision, whose mean is rounded to something else."""
    value, remark = sts.evaluate(torch.full((count,), constant), torch.arange(count) % 50 / 10)
    assert value == 0
    assert "pearson" in remark
    assert "sts" in remark
    assert "undefined" in remark


def test_predictions_that_are_not_numbers_count_as_0(sts):
    value, remark = sts.evaluate(torch.tensor([1.0, math.nan, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert value == 0
    assert remark


def test_a_metric_starts_afresh(qqp):
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert qqp.evaluate(ones, ones)[0] == 1
    assert qqp.evaluate(ones, zeros)[0] == 0


@pytest.mark.parametrize("name", ["my task", "a.b", "", "keys", "type", "training"])
def test_a_name_that_cannot_name_parameters_is_refused(sst, name: str) -> None:
    with pytest.raises(ValueError, match=r"tasks: expected a name .*; write another"):
        replace(sst, name=name)
