"""Several metrics by name, and how they enter the score."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mtl_bert.runs.factories import make_tasks
from mtl_bert.tasks import (
    Binary,
    Head,
    MetricRange,
    MultiClass,
    MultiLabel,
    Regression,
    SoftLabels,
    Task,
    score,
)
from mtl_bert.tasks.metrics import NAMES
from mtl_bert.utils.errors import UserError
from tests.composing import settings_of
from tests.factories import assert_tells, make_table

LOSSES: dict[type[Head], Any] = {
    Binary: nn.BCEWithLogitsLoss,
    MultiClass: nn.CrossEntropyLoss,
    SoftLabels: nn.CrossEntropyLoss,
    MultiLabel: nn.BCEWithLogitsLoss,
    Regression: nn.MSELoss,
}
THREE, SCALE = MultiClass(["a", "b", "c"]), Regression(0, 5)
TAGS, SHARES = MultiLabel(["a", "b", "c"]), SoftLabels(["a", "b", "c"])


def task_of(head: Head, metrics: Any, name: str = "toy", **settings: Any) -> Task:
    return Task(name, False, head, LOSSES[type(head)](), metrics=metrics, **settings)


OF_NUMBERS = {"pearson", "spearman", "mse", "rmse", "mae", "r2"}


@pytest.mark.parametrize("head", [Binary(), THREE, TAGS, SHARES, SCALE], ids=repr)
def test_every_name_fits_the_heads_that_it_is_for(head: Head) -> None:
    names = {n for n in NAMES if (n in OF_NUMBERS) != bool(head.names)} - {"kappa", "exact_match"}
    names -= {"balanced_accuracy"} if isinstance(head, MultiLabel) else set()
    task = task_of(head, sorted(names))
    task.try_out(torch.float32)
    assert task.reads.keys() == names


def test_f1_and_accuracy_by_hand() -> None:
    """Class 1: two of three found, one too many: F1 = 2·2/(3+3). Right answers: 3 of 5."""
    task = task_of(Binary(), ["accuracy", "f1"])
    told, true = torch.tensor([1, 1, 1, 0, 0]), torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    assert task.evaluate(told, true)[0] == pytest.approx(3 / 5)
    assert task.evaluate(told, true, "f1")[0] == pytest.approx(4 / 6)


def test_f1_of_classes_is_their_mean_and_of_labels_over_all() -> None:
    told, true = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2])
    by_class = [2 / 3, 2 / 3, 1.0]
    assert task_of(THREE, ["f1"]).evaluate(told, true)[0] == pytest.approx(np.mean(by_class))
    tags = task_of(TAGS, ["f1", "f1_macro"])
    told, true = torch.tensor([[1, 0, 1], [0, 0, 1]]), torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    assert tags.evaluate(told, true)[0] == pytest.approx(2 * 2 / (3 + 3))
    assert tags.evaluate(told, true, "f1_macro")[0] == pytest.approx((1 + 0 + 2 / 3) / 3)


def test_means_over_classes_are_over_both_of_two() -> None:
    true = torch.cat([torch.zeros(95), torch.ones(5)])
    told = torch.zeros(100, dtype=torch.long)
    told[95] = 1  # one of five found
    names = ["balanced_accuracy", "f1_macro", "f1_micro"]
    task = task_of(Binary(), names)
    task.try_out(torch.float32)
    found = {name: task.evaluate(told, true, name)[0] for name in names}
    negative, positive = 2 * 95 / (2 * 95 + 4), 2 * 1 / (2 * 1 + 4)
    expected = [(1 + 0.2) / 2, (negative + positive) / 2, 96 / 100]
    assert list(found.values()) == pytest.approx(expected)


def test_balanced_accuracy_is_no_metric_of_several_labels() -> None:
    with pytest.raises(ValueError, match="metrics: expected metrics of several labels, found 'bal"):
        task_of(TAGS, ["balanced_accuracy"])


def test_an_undefined_metric_of_which_less_is_better_counts_as_the_worst() -> None:
    task = task_of(SCALE, ["MeanSquaredLogError"], score=MetricRange(0, 4))
    value, remark = task.evaluate(torch.tensor([-2.0, 1.0]), torch.tensor([1.0, 2.0]))
    assert value == 4
    assert remark == "MeanSquaredLogError of toy is undefined here and counts as 4"
    assert score([task], {"toy": value}) == 0


@pytest.mark.parametrize(
    "constant", [torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long)]
)
def test_matthews_correlation_of_one_answer_for_all_is_undefined_and_counts_0(
    constant: torch.Tensor,
) -> None:
    task, true = task_of(Binary(), ["mcc"]), torch.tensor([1.0, 1, 1, 0, 0, 1, 1, 0])
    for told, labels in ((constant, true), (true.long(), constant.double())):
        value, remark = task.evaluate(told, labels)
        assert value == 0
        assert remark == "mcc of toy is undefined here and counts as 0"


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("seed", range(5))
def test_a_mean_that_no_double_can_hold_correlates_with_nothing(metric: str, seed: int) -> None:
    """The mean of equal numbers may differ from them in the last digit: of that comes no r."""
    labels = 5 * torch.rand(431, generator=torch.Generator().manual_seed(seed)).double()
    task = task_of(SCALE, [metric])
    assert task.evaluate_constant(labels) == 0
    assert task.evaluate(labels.mean().expand(431), labels)[1] is not None


SOME = torch.tensor([0, 2, 2, 1, 2, 0, 2, 1, 1, 2])
TWO = (SOME > 1).float()
TAGGED = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0], [1, 0, 0]]).double()


@pytest.mark.parametrize(
    ("head", "metric", "labels", "answers"),
    [
        (Binary(), "accuracy", TWO, [0, 1]),
        (THREE, "accuracy", SOME, [0, 1, 2]),
        (SHARES, "accuracy", SOME, [0, 1, 2]),
        (TAGS, "accuracy", TAGGED, [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]),
        (SCALE, "mse", SOME.double() + 1, torch.linspace(0, 5, 501).tolist()),
        (Binary(), "auroc", TWO, [0.1, 0.5]),
        (THREE, "auroc", SOME, [[0.2, 0.3, 0.5]]),
        (Binary(), "mcc", TWO, [0, 1]),
        (SCALE, "pearson", SOME.double(), [1.0, 2.5]),
    ],
)  # fmt: skip
def test_no_answer_that_is_given_to_all_does_better(
    head: Head, metric: str, labels: torch.Tensor, answers: list[Any]
) -> None:
    """Against every answer there is."""
    task = task_of(head, [metric])
    tried = [
        task.evaluate(torch.tensor(a).expand(len(labels), *torch.tensor(a).shape), labels)[0]
        for a in answers
    ]
    best = (min if task.lower_is_better else max)(tried)
    assert task.evaluate_constant(labels) == pytest.approx(best, abs=1e-12)


def test_a_metric_of_which_less_is_better_falls_as_it_grows() -> None:
    task = task_of(SCALE, ["mse"], score=MetricRange(0, 4))
    assert task.lower_is_better
    assert [score([task], {"toy": mse}) for mse in (0.0, 1.0, 4.0)] == [1.0, 0.75, 0.0]


def test_tasks_have_weights_in_the_score() -> None:
    heavy = task_of(THREE, ["accuracy"], "heavy", score=MetricRange(weight=3))
    light = task_of(THREE, ["accuracy"], "light")
    assert score([heavy, light], {"heavy": 0.8, "light": 0.4}) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("head", "settings", "parts"),
    [
        (THREE, {"metrics": ["acuracy"]}, ("metrics: expected names", "found 'acuracy'")),
        (THREE, {"metrics": ["pearson"]}, ("metrics: expected metrics of classes", "'pearson'")),
        (SCALE, {"metrics": ["f1"]}, ("metrics: expected metrics of numbers", "found 'f1'")),
        (SCALE, {"metrics": []}, ("metrics: expected", "found none")),
        (THREE, {"metrics": ["Tensor"]}, ("metrics: expected names", "found 'Tensor'")),
        (THREE, {"metrics": ["f1"], "score": MetricRange(of=["mcc"])}, ("score.of", "['mcc']")),
    ],
)
def test_what_does_not_fit_is_refused(head: Head, settings: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        task_of(head, **settings)
    assert_tells(refused.value, *parts)


def test_a_mean_of_what_should_rise_and_what_should_fall_is_refused() -> None:
    task = task_of(SCALE, ["mse", "pearson"], score=MetricRange(of=["mse", "pearson"]))
    with pytest.raises(UserError, match=r"tasks\.toy\.score: expected .*mse and pearson"):
        task.try_out(torch.float32)


@pytest.mark.parametrize(
    ("head", "loss"),
    [(TAGS, nn.MSELoss), (TAGS, nn.CrossEntropyLoss), (SHARES, nn.BCEWithLogitsLoss)],
)
def test_losses_of_several_numbers_are_tried_too(head: Head, loss: type[nn.Module]) -> None:
    task_of(head, ["accuracy"]).try_out(torch.float32)
    falling = Task("toy", False, head, lambda o, y: -loss()(o, y), metrics=["accuracy"])
    with pytest.raises(UserError, match=r"tasks\.toy\.loss: expected"):
        falling.try_out(torch.float32)


def test_a_list_of_weights_is_a_tensor_and_names_add_metrics_to_a_task() -> None:
    task = "tasks.sst"
    (sst,) = make_tasks(
        settings_of("task=[sst]", f"+{task}.loss.weight=[1,2,3,4,5]", f"+{task}.metrics=[f1_macro]")
    )
    assert list(sst.metrics) == ["accuracy", "f1_macro"]
    assert sst.scored == ("accuracy",)
    outputs, labels = torch.randn(7, 5), torch.tensor([0, 1, 2, 3, 4, 4, 0])
    weighted = nn.CrossEntropyLoss(weight=torch.arange(1.0, 6.0))
    assert torch.equal(sst.loss(outputs, labels), weighted(outputs, labels))
    sst.try_out(torch.float32)


def test_labels_of_several_numbers_are_cut_with_their_rows() -> None:
    table = make_table([("a",), ("b",), ("c",)], [[0, 1], [1, 0], [1, 1]])  # type: ignore[list-item]
    assert table.take(np.array([0, 2])).labels.tolist() == [[0, 1], [1, 1]]  # type: ignore[union-attr]
