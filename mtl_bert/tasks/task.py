"""What a task is, as data: its texts, head, loss, metric and how the metric enters the score."""

import math
import re
import warnings
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
from mtl_bert.tasks.metrics import by_name
from mtl_bert.tasks.trial import adds_up, measure, reading, try_head, try_loss
from mtl_bert.utils.errors import UserError, first_line


@dataclass(frozen=True)
class MetricRange:
    """How a task enters the score: its metric, mapped to 0..1, times a weight.

    A metric of which less is better (torchmetrics knows) counts 1 at ``low`` and 0 at ``high``.

    Attributes:
        low, high: the metric's range.
        of: the metrics whose mean enters; none stands for the task's first.
        weight: among the tasks, > 0.
    """

    low: float = 0.0
    high: float = 1.0
    of: Sequence[str] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(
                f"score.weight: expected a number > 0, found {self.weight}; write weight: 1"
            )
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
        glue: GLUE's file -> the split whose predictions it has.
        names: whether GLUE's files have the classes' names.
    """

    file: str | None = None
    column: str = "Prediction"
    glue: Mapping[str, str] = field(default_factory=dict)
    names: bool = False

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
        metric_name: the name in results of ``metric``, which makes a fresh torchmetrics metric.
        score: how the task enters the score.
        sources: for each kind of data, where the task's files and columns are.
        submission: the name and the column of files of its predictions.
        known_as: words by which model cards name its data, to find out whether an encoder saw them.
        weight: factor on its gradient, before surgery; a method that looks at directions alone
            (Nash-MTL, DB-MTL) undoes it in what tasks share.
        batch_size: of its batches; None takes the run's.
        max_repeats: times that an epoch may use its training set at most; None for no limit.
        balance: ``classes`` deals its examples so that every class comes up equally often.
        class_weights: factors on its examples' losses by their class, or ``balanced``: inverse to
            the classes' numbers of training examples, 1 in the mean over those.
        metrics: more of them, or all: names as :func:`mtl_bert.tasks.metrics.by_name` knows them,
            or a mapping from names of one's own to such names or to what makes a metric; once made,
            all metrics by their names, the first of which enters the score unless that says others.
        max_length: tokens of its texts at most; None takes the run's.
        hidden: width of a hidden layer between features and outputs; None for none.
        module: (features, outputs) -> the layers between them, instead of a linear one.
    """

    name: str
    pair: bool
    head: Head
    loss: Callable[[Tensor, Tensor], Tensor]
    metric_name: str = "metric"
    metric: Callable[[], Metric] | None = None
    score: MetricRange = field(default_factory=MetricRange)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    submission: Submission = field(default_factory=Submission)
    known_as: Sequence[str] = ()
    weight: float = 1.0
    batch_size: int | None = None
    max_repeats: float | None = None
    balance: str | None = None
    class_weights: str | Sequence[float] | None = None
    metrics: Sequence[str] | Mapping[str, Any] = ()
    max_length: int | None = None
    hidden: int | None = None
    module: Callable[[int, int], nn.Module] | None = None

    def __post_init__(self) -> None:
        several = self.metrics
        named = {} if self.metric is None else {self.metric_name: self.metric}
        for name, made in (
            several.items() if isinstance(several, Mapping) else zip(several, several, strict=True)
        ):
            named[name] = by_name(made, self.head) if isinstance(made, str) else made
        if unknown := [name for name in self.score.of if name not in named] or not named:
            raise ValueError(
                f"{'score.of' if named else 'metrics'}: expected some of the task's metrics "
                f"({', '.join(named) or 'none'}), found {unknown if named else 'none'}; write for "
                "example metrics: [accuracy]"
            )
        object.__setattr__(self, "metrics", named)
        if self.hidden is not None and self.module is not None:
            raise ValueError(
                f"hidden: expected none beside a module, found {self.hidden}; leave one of them out"
            )
        for name in ("balance", "class_weights"):
            if getattr(self, name) is not None and (not self.head.names or self.head.per_class):
                raise ValueError(
                    f"{name}: expected none for a task without classes of its examples, found "
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

    @property
    def scored(self) -> tuple[str, ...]:
        """The metrics whose mean enters the score."""
        return tuple(self.score.of) or tuple(self.metrics)[:1]

    @cached_property
    def lower_is_better(self) -> bool:
        """Of the metrics that enter the score; ValueError if it is so of some of them only."""
        with warnings.catch_warnings():  # of the memory that a metric takes
            warnings.simplefilter("ignore")
            made = [self._makers[name]() for name in self.scored]
        found = {getattr(metric, "higher_is_better", None) is False for metric in made}
        if len(found) > 1:
            raise ValueError(f"of {' and '.join(self.scored)} some are better low, others high")
        return found.pop()

    @property
    def _makers(self) -> Mapping[str, Callable[[], Metric]]:
        assert isinstance(self.metrics, Mapping)
        return self.metrics

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
                for name, found in self._makers.items():
                    part = "metric" if found is self.metric else f"metrics.{name}"
                    reading(self.head, found)
                part = "score"
                _ = self.lower_is_better
        except Exception as error:  # parts are anybody's, and so is what they raise
            found = found if part.startswith("metric") else getattr(self, part)
            found = getattr(found, "func", found)
            raise UserError(
                f"tasks.{self.name}.{part}: expected one that fits a {type(self.head).__name__} "
                f"head, found {getattr(found, '__name__', type(found).__name__)}, which does not "
                f"({first_line(error)}); write another, or mend its settings"
            ) from error

    def adds_up(self, dtype: torch.dtype) -> bool:
        """Whether a batch's loss is the mean of its parts' losses, as a mean over examples is."""
        return adds_up(self.head, self.loss, dtype)

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move or cast the tensors that the loss holds, as a module, a partial or an object."""
        for part in self.loss.modules() if isinstance(self.loss, nn.Module) else [self.loss]:
            for held in (getattr(part, at, {}) for at in ("keywords", "_buffers", "__dict__")):
                for name in [name for name in held if isinstance(held[name], Tensor)]:
                    held[name] = change(held[name])

    @cached_property
    def reads(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """What each metric is given, as :func:`mtl_bert.tasks.trial.reading` finds out."""
        return {name: reading(self.head, made) for name, made in self._makers.items()}

    def evaluate_constant(self, labels: Tensor) -> float:
        """What the task scores on ``labels`` if every example gets one and the same answer.

        That is the most frequent class, for a metric of probabilities the classes' shares, or the
        mean of numbers: a model has learned something only if it does better.
        """
        head, values = self.head, []
        if of_classes := bool(head.names) and labels.dim() == 1:
            shares = labels.long().bincount(minlength=len(head.names)) / len(labels)
        else:
            shares = labels.double().mean(0)
        for name in self.scored:
            answer, way = shares, self.reads[name]
            if way == head.probability:
                answer = shares[1]
            elif way == head.predict and head.names:
                answer = shares.argmax() if of_classes else (shares > 0.5).long()
            value, _ = self.evaluate(answer.expand(len(labels), *answer.shape), labels, name)
            values.append(value)
        return sum(values) / len(values)

    def evaluate(
        self, answers: Tensor, labels: Tensor, name: str | None = None
    ) -> tuple[float, str | None]:
        """The metric ``name``, or the first, of ``answers`` on ``labels`` [B].

        With a remark where it is undefined (Pearson's r of constant predictions) and counts as 0
        (docs/explanation/paper.md, 13), or as the worst of a score in which less is better.
        """
        name = name or next(iter(self._makers))
        if math.isfinite(value := measure(self._makers[name], answers, labels)):
            return value, None
        worst = self.score.high if name in self.scored and self.lower_is_better else 0.0
        return worst, f"{name} of {self.name} is undefined here and counts as {worst:g}"


def score(tasks: Sequence[Task], values: Mapping[str, float]) -> float:
    """The weighted mean over ``tasks`` of their metrics, each mapped to 0..1.

    ``values`` has for each task the mean of its metrics that enter.
    """
    total = 0.0
    for task in tasks:
        ends = task.score.low, task.score.high
        low, high = reversed(ends) if task.lower_is_better else ends
        total += task.score.weight * ((values[task.name] - low) / (high - low))
    return total / sum(task.score.weight for task in tasks)
