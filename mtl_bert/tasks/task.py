"""What a task is, as data: its texts, head, loss, metric and how the metric enters the score."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtl_bert.tasks.head import Head, texts
from mtl_bert.tasks.trial import measure, reading, try_head, try_loss
from mtl_bert.utils.errors import UserError, first_line


class TaskError(UserError):
    """Parts of a task that do not fit each other."""


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

    def unit(self, value: float) -> float:
        """Map a metric's value to the score's 0..1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Submission:
    """The name and the column of the files that hold a task's predictions for a leaderboard.

    Attributes:
        file: the first part of the file's name; None means the task's name.
        column: the header of the column of predictions.
    """

    file: str | None = None
    column: str = "Prediction"

    def __post_init__(self) -> None:
        texts("submission", [text for text in (self.file, self.column) if text is not None])
        name = "x" if self.file is None else self.file
        if Path(name).name != name or not f"{name}{self.column}".isprintable():
            raise ValueError(
                f"submission: expected a file name without directories and a header of one line, "
                f"found file={self.file} and column={self.column!r}; "
                "write for example file: para and column: Prediction"
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

    def __post_init__(self) -> None:
        # It names parameters: heads.NAME.weight.
        if not self.name.isidentifier() or hasattr(nn.ModuleDict(), self.name):
            raise ValueError(
                f"tasks: expected a name of letters, digits and _ that is none of torch's, "
                f"found {self.name!r}; write another after '# @package tasks.' in the task's file"
            )
        texts(f"tasks.{self.name}.metric_name", [self.metric_name])
        texts(f"tasks.{self.name}.known_as", self.known_as)

    def among(self, data_sets: Iterable[str]) -> list[str]:
        """Find those of a model card's ``data_sets`` whose name holds a word of ``known_as``.

        A word ends where no letter or digit follows: quora is in a/Quora_pairs, not in quorate.
        """
        words = "|".join(re.escape(word) for word in self.known_as)
        whole = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE)
        return [name for name in data_sets if self.known_as and whole.search(name)]

    def try_out(self, dtype: torch.dtype) -> None:
        """Try the parts on made-up rows, with the loss cast to ``dtype``; no random state moves.

        Raises:
            TaskError: parts that do not fit each other.
        """
        self.apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        part = "head"
        try:
            with torch.random.fork_rng(devices=[]):
                try_head(self.head)
                part = "loss"
                try_loss(self.head, self.loss, dtype)
                part = "metric"
                _ = self.reads
        except Exception as error:  # parts are anybody's, and so is what they raise
            found = getattr(getattr(self, part), "func", getattr(self, part))
            raise TaskError(
                f"tasks.{self.name}.{part}: expected one that fits a {type(self.head).__name__} "
                f"head, found {getattr(found, '__name__', type(found).__name__)}, which does not "
                f"({first_line(error)}); write another, or mend its settings"
            ) from error

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move or cast the tensors that the loss holds, as a module, a partial or an object."""
        parts = self.loss.modules() if isinstance(self.loss, nn.Module) else [self.loss]
        for part in parts:
            keywords = part.keywords if isinstance(part, partial) else {}
            for held in (keywords, getattr(part, "_buffers", {}), getattr(part, "__dict__", {})):
                for name in [name for name in held if isinstance(held[name], Tensor)]:
                    held[name] = change(held[name])

    @cached_property
    def reads(self) -> str:
        """What the metric is given, as :func:`mtl_bert.tasks.trial.reading` finds out."""
        return reading(self.head, self.metric)

    def evaluate(self, answers: Tensor, labels: Tensor) -> tuple[float, str | None]:
        """The metric of answers on labels [B], and a remark where it is undefined.

        An undefined metric (Pearson's r of constant predictions) counts as 0
        (docs/explanation/paper.md, 13).
        """
        value = measure(self.metric, answers, labels)
        if math.isfinite(value):
            return value, None
        return 0.0, f"{self.metric_name} of {self.name} is undefined here and counts as 0"


def score(tasks: Sequence[Task], values: Mapping[str, float]) -> float:
    """The mean over ``tasks`` of their metrics' ``values``, each mapped to 0..1."""
    return sum(task.score.unit(values[task.name]) for task in tasks) / len(tasks)
