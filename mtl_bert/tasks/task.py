"""What a task is, as data: its texts, head, loss, metric and how the metric enters the score."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtl_bert.tasks.head import Head


@dataclass(frozen=True)
class MetricRange:
    """The range of a metric, which the score maps to 0..1.

    Attributes:
        low: the value that counts as 0.
        high: the value that counts as 1.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not self.low < self.high:
            raise ValueError(
                f"score: expected low < high, found low={self.low} and high={self.high}; "
                "write for example low: 0 and high: 1"
            )

    def unit(self, value: float) -> float:
        """Map a metric's value to the score's 0..1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Task:
    """One of the tasks that are trained together.

    Attributes:
        name: how settings, results and parameters call it.
        pair: whether an example is a pair of texts.
        head: the form of the answers.
        loss: (outputs, labels [B]) -> the mean loss over the B examples.
        metric_name: how results call the metric.
        metric: makes a fresh torchmetrics metric.
        score: the metric's range in the score.
        sources: for each kind of data, where the task's files and columns are.
    """

    name: str
    pair: bool
    head: Head
    loss: Callable[[Tensor, Tensor], Tensor]
    metric_name: str
    metric: Callable[[], Metric]
    score: MetricRange = field(default_factory=MetricRange)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the name can name parameters: heads.NAME.weight."""
        if not self.name.isidentifier() or hasattr(nn.ModuleDict(), self.name):
            raise ValueError(
                f"tasks: expected a name of letters, digits and _ that is none of torch's, "
                f"found {self.name!r}; write another after '# @package tasks.' in the task's file"
            )

    def evaluate(self, predictions: Tensor, labels: Tensor) -> tuple[float, str | None]:
        """The metric of predictions [B] on labels [B], and a remark where it is undefined.

        An undefined metric (Pearson's r of constant predictions) counts as 0 (docs/paper.md, 13).
        """
        metric = self.metric().set_dtype(torch.float64)
        # In single precision the mean of equal numbers may differ from them: r would be defined.
        metric.update(*(x.double() if x.is_floating_point() else x for x in (predictions, labels)))
        with warnings.catch_warnings():  # what torchmetrics would warn of is the remark below
            warnings.simplefilter("ignore")
            value = float(metric.compute())
        if math.isfinite(value):
            return value, None
        return 0.0, f"{self.metric_name} of {self.name} is undefined here and counts as 0"


def score(tasks: Sequence[Task], values: Mapping[str, float]) -> float:
    """The mean over tasks of the metrics, each mapped to 0..1 (docs/paper.md, the score)."""
    return sum(task.score.unit(values[task.name]) for task in tasks) / len(tasks)
