"""Head, loss and metric are tried on each other before a run begins."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics import classification as of_classes
from torchmetrics import regression as of_numbers

from mtl_bert.tasks import Binary, Head, MultiClass, Regression, Task
from mtl_bert.utils.errors import UserError
from tests.factories import assert_tells

YES, TWO, FIVE = Binary(), MultiClass(["a", "b"]), MultiClass(list("abcde"))
SCALE, UNIT, OPEN = Regression(0, 5), Regression(0, 1), Regression(-torch.inf, torch.inf)

PEARSON = of_numbers.PearsonCorrCoef
ACCURACY = of_classes.BinaryAccuracy


def five(name: str, **settings: Any) -> Callable[[], Metric]:
    return partial(getattr(of_classes, f"Multiclass{name}"), num_classes=5, **settings)


def fitting(head: Head, loss: Any = None, metric: Any = None, name: str = "toy") -> Task:
    """A task, its loss and its metric the usual ones where a test is not about them."""
    usual: dict[int, tuple[Any, Any]] = {
        1: (nn.BCEWithLogitsLoss(), ACCURACY),
        2: (nn.CrossEntropyLoss(), partial(of_classes.MulticlassAccuracy, num_classes=2)),
    }
    plain = (nn.MSELoss(), PEARSON) if not head.names else (nn.CrossEntropyLoss(), five("Accuracy"))
    losses, metrics = usual.get(head.outputs, plain) if head.names else plain
    return Task(name, False, head, loss or losses, "some", metric or metrics)


def focal(outputs: Tensor, labels: Tensor) -> Tensor:
    entropy = nn.functional.cross_entropy(outputs, labels, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


def ranking(outputs: Tensor, labels: Tensor) -> Tensor:
    """CoSENT: of pairs of examples, so that no mean over examples is exact."""
    pairs = 20 * (outputs[:, None] - outputs)[labels[:, None] < labels]
    return torch.log1p(pairs.exp().sum())


class Plain(nn.Module):
    """A loss that holds a tensor which is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.tensor([1.0, 5.0, 1.0, 1.0, 1.0])

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels, weight=self.weight)


class Learning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.scale * nn.functional.mse_loss(outputs, labels)


class LogProbabilities(MultiClass):
    def shape(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)


class Squeezed(Regression):
    """Somebody's own head, whose answers never quite reach the ends of its scale."""

    def predict(self, outputs: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * outputs.sigmoid()


class Seven(MultiClass):
    outputs = 7  # type: ignore[assignment]


class Three(MultiClass):
    outputs = 3  # type: ignore[assignment]


WEIGHT = torch.tensor([1.0, 0.0, 5.0, 1.0, 1.0])

FIT = {
    "binary": (YES, None),
    "classes": (FIVE, None),
    "numbers": (SCALE, None),
    "a scale without ends": (OPEN, nn.HuberLoss()),
    "half a scale": (Regression(-torch.inf, 0.1), nn.L1Loss()),
    "smoothed": (FIVE, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "weighted, a class not at all": (FIVE, nn.CrossEntropyLoss(weight=WEIGHT)),
    "weighted, a plain tensor": (FIVE, Plain()),
    "weighted, a partial": (FIVE, partial(nn.functional.cross_entropy, weight=WEIGHT)),
    "positive weight": (YES, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(100.0))),
    "margin": (FIVE, nn.MultiMarginLoss()),
    "focal": (FIVE, focal),
    "ranking": (SCALE, ranking),
    "log-probabilities": (LogProbabilities(list("abcde")), nn.NLLLoss()),
    "own head": (Squeezed(0, 5), lambda o, y: nn.functional.mse_loss(5 * o.sigmoid(), y)),
}


@pytest.mark.parametrize("case", FIT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_that_fit_their_head(case: str, dtype: torch.dtype) -> None:
    fitting(*FIT[case]).try_out(dtype)


WRONG_LOSS = {
    "not the labels' type": (FIVE, nn.BCEWithLogitsLoss(), "size"),
    "classes as one example": (YES, nn.CrossEntropyLoss(), "twice"),
    "numbers as one example": (SCALE, nn.CrossEntropyLoss(), "twice"),
    "broadcast": (FIVE, nn.MSELoss(), "target size"),
    "least at 0 and 1, read at 0": (YES, nn.MSELoss(), "for wrong ones"),
    "labels of -1 and 1": (YES, nn.SoftMarginLoss(), "for wrong ones"),
    "probabilities wanted": (YES, nn.BCELoss(), "between 0 and 1"),
    "log-probabilities wanted": (FIVE, nn.NLLLoss(), "without end"),
    "logits for numbers": (SCALE, nn.BCEWithLogitsLoss(), "for wrong ones"),
    "logits for shares": (UNIT, nn.BCEWithLogitsLoss(), "for wrong ones"),
    "logarithms for numbers": (SCALE, nn.PoissonNLLLoss(), "for wrong ones"),
    "a third argument": (SCALE, nn.GaussianNLLLoss(), "argument"),
    "weights of other classes": (FIVE, nn.CrossEntropyLoss(weight=WEIGHT[:4]), "all 5 classes"),
    "the sum": (FIVE, nn.CrossEntropyLoss(reduction="sum"), "reduction: mean"),
    "not reduced": (SCALE, nn.MSELoss(reduction="none"), "reduction: mean"),
    "a dictionary": (SCALE, lambda o, y: {"loss": nn.functional.mse_loss(o, y)}, "dict"),
    "no tensor": (SCALE, lambda o, y: nn.functional.mse_loss(o, y).item(), "float"),
    "no gradient": (SCALE, lambda o, y: nn.functional.mse_loss(o.detach(), y), "grad"),
    "the wrong way round": (SCALE, lambda o, y: -nn.functional.mse_loss(o, y), "for wrong ones"),
    "not finite": (
        SCALE,
        lambda o, y: nn.functional.mse_loss(o, y) * torch.inf,
        "for right answers",
    ),
    "a class": (SCALE, nn.MSELoss, "MSELoss"),
    "learning": (SCALE, Learning(), "parameters"),
}


@pytest.mark.parametrize("case", WRONG_LOSS)
def test_losses_that_do_not_fit_are_refused_in_a_line(case: str) -> None:
    head, loss, found = WRONG_LOSS[case]
    with pytest.raises(UserError) as refused:
        fitting(head, loss).try_out(torch.float32)
    assert_tells(refused.value, "tasks.toy.loss: expected one that fits", found)


@pytest.mark.parametrize("head", [Seven(list("abcde")), Three(list("abcde"))])
def test_a_head_of_another_size_than_its_classes_is_refused(head: Head) -> None:
    with pytest.raises(UserError) as refused:
        fitting(head, nn.CrossEntropyLoss()).try_out(torch.float32)
    assert_tells(refused.value, "tasks.toy.head", type(head).__name__)


class OwnAccuracy(Metric):
    """Somebody's own metric, which would take probabilities without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0.0), "sum")
        self.add_state("all", torch.tensor(0.0), "sum")

    def update(self, answers: Tensor, labels: Tensor) -> None:
        self.right += (answers == labels).sum()
        self.all += labels.numel()

    def compute(self) -> Tensor:
        return torch.as_tensor(self.right / self.all)


READS = {
    "accuracy": (YES, ACCURACY, "predict"),
    "matthews": (YES, of_classes.BinaryMatthewsCorrCoef, "predict"),
    "f1": (FIVE, five("F1Score"), "predict"),
    "binary of two classes": (TWO, ACCURACY, "predict"),
    "own": (FIVE, OwnAccuracy, "predict"),
    "numbers": (SCALE, of_numbers.R2Score, "predict"),
    "area": (YES, of_classes.BinaryAUROC, "probability"),
    "precision": (YES, of_classes.BinaryAveragePrecision, "probability"),
    "calibration": (YES, of_classes.BinaryCalibrationError, "probability"),
    "a threshold": (YES, partial(ACCURACY, threshold=0.7), "probability"),
    "binary area of two classes": (TWO, of_classes.BinaryAUROC, "probability"),
    "area of classes": (FIVE, five("AUROC"), "probabilities"),
    "two guesses": (FIVE, five("Accuracy", top_k=2), "probabilities"),
    "area of two": (YES, partial(of_classes.MulticlassAUROC, num_classes=2), "probabilities"),
}


@pytest.mark.parametrize("case", READS)
def test_a_metric_that_reads_probabilities_gets_them_and_no_other(case: str) -> None:
    head, metric, reads = READS[case]
    task = fitting(head, metric=metric)
    task.try_out(torch.float32)
    assert task.reads["some"].__name__ == reads


WRONG_METRIC = {
    "a value for each class": (FIVE, five("Accuracy", average="none"), "[5]"),
    "a table": (FIVE, five("ConfusionMatrix"), "[5, 5]"),
    "a curve": (YES, of_classes.BinaryROC, "tuple"),
    "several": (YES, lambda: MetricCollection([ACCURACY()]), "_partial_: true"),
    "fewer classes": (FIVE, partial(of_classes.MulticlassAccuracy, num_classes=3), "for 3 classes"),
    "two classes of five": (FIVE, of_classes.BinaryAUROC, "for 2 classes"),
    "classes of numbers": (SCALE, five("Accuracy", average="micro"), "has 0"),
    "shares": (UNIT, ACCURACY, "has 0"),
    "several labels": (FIVE, partial(of_classes.MultilabelAccuracy, num_labels=5), "shape"),
    "vectors": (SCALE, of_numbers.CosineSimilarity, "2D"),
    "made already": (YES, ACCURACY(), "_partial_: true"),
    "no settings": (FIVE, of_classes.MulticlassAccuracy, "num_classes"),
}


@pytest.mark.parametrize("case", WRONG_METRIC)
def test_metrics_that_do_not_fit_are_refused_in_a_line(case: str) -> None:
    head, metric, found = WRONG_METRIC[case]
    with pytest.raises(UserError) as refused:
        fitting(head, metric=metric).try_out(torch.float32)
    assert_tells(refused.value, "tasks.toy.metric: expected", found)


def test_the_area_under_the_curve_is_of_the_probabilities() -> None:
    torch.manual_seed(0)
    labels = torch.arange(40) % 2
    logits = torch.randn(40) + labels
    ranks = (logits[labels == 1][:, None] > logits[labels == 0]).double().mean().item()
    for head, outputs in ((YES, logits), (TWO, torch.stack([-logits, torch.zeros(40)], -1))):
        task = fitting(head, metric=of_classes.BinaryAUROC)
        value, _ = task.evaluate(task.reads["some"](outputs), labels.to(head.label_type))
        assert value == pytest.approx(ranks, abs=1e-6)


def test_no_random_state_moves() -> None:
    def noisy(outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs + 0 * torch.rand(()), labels)

    before = torch.get_rng_state()
    fitting(SCALE, noisy).try_out(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("head", "loss", "adds_up"),
    [
        (FIVE, nn.CrossEntropyLoss(), True),
        (FIVE, focal, True),
        (FIVE, Plain(), False),
        (FIVE, nn.CrossEntropyLoss(ignore_index=0), False),
        (YES, nn.BCEWithLogitsLoss(), True),
        (YES, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), True),
        (SCALE, nn.MSELoss(), True),
        (SCALE, ranking, False),
    ],
)
def test_whether_a_loss_adds_up_over_parts(
    head: Head, loss: Any, adds_up: bool, dtype: torch.dtype
) -> None:
    task = fitting(head, loss)
    task.try_out(dtype)
    assert task.adds_up(dtype) == adds_up
