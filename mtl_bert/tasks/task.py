"""What a task is, as data: its texts, head, loss, metric and how the metric enters the score."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtl_bert.tasks.class_weights import ClassWeighted
from mtl_bert.tasks.head import Head
from mtl_bert.tasks.trial import measure, reading, try_head, try_loss
from mtl_bert.utils.errors import UserError, first_line


@dataclass(frozen=True)
class MetricRange:
    """The range of a metric, from ``low`` to ``high``, which the score maps to 0..1."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"score: expected low < high, found low={self.low} and high={self.high}; "
                "write for example low: 0 and high: 1"
            )


@dataclass(frozen=True)
class Submission:
    """The files that hold a task's predictions for a leaderboard.

    Attributes:
        file: the first part of their name; the task's name if left out.
        column: the header of the column of predictions.
    """

    file: str | None = None
    column: str = "Prediction"

    def __post_init__(self) -> None:
        name = "x" if self.file is None else self.file
        if Path(name).name != name or not f"{name}{self.column}".isprintable():
            raise ValueError(
                f"submission: expected a file name without directories and a header of one line, "
                f"found file={self.file} and column={self.column!r}; write file: para"
            )


@dataclass(frozen=True)
class Task:
    """One of the tasks that are trained together.

    Attributes:
        name: the task's name in settings, results and parameters.
        pair: whether an example is a pair of texts.
        head: the form of the answers.
        loss: (outputs, labels [B]) -> the mean loss over the B examples.
        metric_name: the metric's name in results.
        metric: makes a fresh torchmetrics metric.
        score: the metric's range in the score.
        sources: for each kind of data, where the task's files and columns are.
        submission: the name and the column of files of its predictions.
        known_as: words by which model cards name its data, to find out whether an encoder saw them.
        weight: factor on its loss, with whatever surgery.
        batch_size: of its batches; None takes the run's.
        max_repeats: times that an epoch may use its training set at most; None for no limit.
        balance: ``classes`` deals its examples so that every class comes up equally often.
        class_weights: factors on its examples' losses by their class, or ``balanced``: inverse to
            the classes' numbers of training examples, 1 in the mean over those.
    """

    name: str
    pair: bool
    head: Head
    loss: Callable[[Tensor, Tensor], Tensor]
    metric_name: str
    metric: Callable[[], Metric]
    score: MetricRange = field(default_factory=MetricRange)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    submission: Submission = field(default_factory=Submission)
    known_as: Sequence[str] = ()
    weight: float = 1.0
    batch_size: int | None = None
    max_repeats: float | None = None
    balance: str | None = None
    class_weights: str | Sequence[float] | None = None

    def __post_init__(self) -> None:
        for name in ("balance", "class_weights"):
            if getattr(self, name) is not None and not self.head.names:
                raise ValueError(
                    f"{name}: expected none for a task without classes, found "
                    f"{getattr(self, name)!r}; leave it out"
                )
        if self.class_weights is not None:
            given = None if isinstance(self.class_weights, str) else self.class_weights
            weighted = ClassWeighted(self.loss, len(self.head.names), given)
            object.__setattr__(self, "loss", weighted)
        # It names parameters: heads.NAME.weight.
        if not self.name.isidentifier() or hasattr(nn.ModuleDict(), self.name):
            raise ValueError(
                f"tasks: expected a name of letters, digits and _ that is none of torch's, "
                f"found {self.name!r}; write another after '# @package tasks.' in the task's file"
            )

    def among(self, data_sets: Iterable[str]) -> list[str]:
        """Find those of a model card's ``data_sets`` whose name holds a word of ``known_as``.

        A word ends where no letter or digit follows: quora is in a/Quora_pairs, not in quorate.
        """
        words = "|".join(map(re.escape, self.known_as)) or "(?!)"
        return [
            name for name in data_sets if re.search(rf"(?i)(?<![^\W_])({words})(?![^\W_])", name)
        ]

    def try_out(self, dtype: torch.dtype) -> None:
        """Raise UserError if the parts, the loss cast to ``dtype``, do not fit on made-up rows."""
        self.apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        part = "head"
        try:
            with torch.random.fork_rng(devices=[]):  # no random state moves
                try_head(self.head)
                part = "loss"
                try_loss(self.head, self.loss, dtype)
                part = "metric"
                _ = self.reads
        except Exception as error:  # parts are anybody's, and so is what they raise
            found = getattr(getattr(self, part), "func", getattr(self, part))
            raise UserError(
                f"tasks.{self.name}.{part}: expected one that fits a {type(self.head).__name__} "
                f"head, found {getattr(found, '__name__', type(found).__name__)}, which does not "
                f"({first_line(error)}); write another, or mend its settings"
            ) from error

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move or cast the tensors that the loss holds, as a module, a partial or an object."""
        for part in self.loss.modules() if isinstance(self.loss, nn.Module) else [self.loss]:
            for held in (getattr(part, at, {}) for at in ("keywords", "_buffers", "__dict__")):
                for name in [name for name in held if isinstance(held[name], Tensor)]:
                    held[name] = change(held[name])

    @cached_property
    def reads(self) -> Callable[[Tensor], Tensor]:
        """What the metric is given, as :func:`mtl_bert.tasks.trial.reading` finds out."""
        return reading(self.head, self.metric)

    def evaluate(self, answers: Tensor, labels: Tensor) -> tuple[float, str | None]:
        """The metric of ``answers`` on ``labels`` [B], and a remark where it is undefined.

        An undefined metric (Pearson's r of constant predictions) counts as 0
        (docs/explanation/paper.md, 13).
        """
        if math.isfinite(value := measure(self.metric, answers, labels)):
            return value, None
        return 0.0, f"{self.metric_name} of {self.name} is undefined here and counts as 0"


def score(tasks: Sequence[Task], values: Mapping[str, float]) -> float:
    """The mean over ``tasks`` of their metrics' ``values``, each mapped to 0..1."""
    ends = [(values[task.name], task.score.low, task.score.high) for task in tasks]
    return sum((value - low) / (high - low) for value, low, high in ends) / len(tasks)
