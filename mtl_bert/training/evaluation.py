"""Predictions on the dev sets, and the scores they get. Shapes: N dev examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor

from mtl_bert.data.batch import Batch
from mtl_bert.data.table import Table
from mtl_bert.runs.results import Scores, TaskScore
from mtl_bert.tasks import Task, score
from mtl_bert.utils.files import replacing


class Answers(NamedTuple):
    """What the model says about a task's dev set, in its order; tensors of shape [N].

    Predictions are in the labels' own values; the confidence is the probability that each of them
    has, NaN where there is none. The metric reads what it asks for: predictions, or probabilities
    ([N] or [N, C classes]).
    """

    predictions: Tensor
    labels: Tensor
    confidence: Tensor
    read: Tensor


class Predictions:
    """Collects predictions until all are there."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._batches: dict[str, list[tuple[Tensor, ...]]] = {t: [] for t in tasks}
        self._finite: list[Tensor] = []

    def add(self, task: Task, batch: Batch, outputs: Tensor) -> None:
        """Note what the model says about a batch: the outputs of the task's head."""
        assert batch.labels is not None
        head, asked = task.head, task.reads(outputs)
        noted = head.predict(outputs), batch.labels, head.confidence(outputs), asked, batch.rows
        self._batches[task.name].append(noted)
        self._finite.append(outputs.isfinite().all())

    def gather(self, processes: int) -> tuple[bool, dict[str, Answers]]:
        """Of all processes: whether every output was finite, and each task's answers."""
        own = (
            all(torch.stack(self._finite).tolist()) if self._finite else True,
            {
                task: [torch.cat(column).cpu() for column in zip(*batches, strict=True)]
                for task, batches in self._batches.items()
            },
        )
        shares = [own] * processes
        if processes > 1:
            dist.all_gather_object(shares, own)
        gathered = {}
        for task in self._batches:
            columns = zip(*(parts[task] for _, parts in shares if parts[task]), strict=True)
            *answers, rows = map(torch.cat, columns)
            order = rows.argsort()  # batches are sorted by length
            gathered[task] = Answers(*(column[order] for column in answers))
        return all(finite for finite, _ in shares), gathered


@dataclass(frozen=True)
class Evaluation:
    """The model's answers after an epoch, their scores, and metrics that were undefined."""

    scores: Scores
    answers: Mapping[str, Answers]
    remarks: tuple[str, ...]


def evaluate(epoch: int, tasks: Sequence[Task], answers: Mapping[str, Answers]) -> Evaluation:
    """Score every task's predictions against its labels."""
    results, remarks = {}, []
    for task in tasks:
        labels = answers[task.name].labels
        value, remark = task.evaluate(answers[task.name].read, labels)
        results[task.name] = TaskScore(metric=task.metric_name, value=value, n=len(labels))
        if remark:
            remarks.append(remark)
    total = score(tasks, {name: result.value for name, result in results.items()})
    return Evaluation(Scores(epoch=epoch, score=total, tasks=results), answers, tuple(remarks))


def write_predictions(path: Path, table: Table, predictions: Tensor, confidence: Tensor) -> None:
    """Write a labelled dev set with its predictions.

    Columns: id, the text or both of a pair, label, prediction, and the confidence in it (empty
    where there is none).
    """
    assert table.labels is not None
    texts = dict(zip(("text", "text2"), zip(*table.texts, strict=True), strict=False))
    # Digits enough for the metric to be computed again from the file.
    columns = {
        "id": table.ids,
        **texts,
        "label": [f"{label:.15g}" for label in table.labels],
        "prediction": [f"{prediction:.9g}" for prediction in predictions.tolist()],
        "confidence": ["" if math.isnan(c) else f"{c:.9g}" for c in confidence.tolist()],
    }
    with replacing(path) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, lineterminator="\n")
