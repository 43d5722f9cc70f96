"""Predictions on the dev sets, and the scores they get.

Shapes: N dev examples.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_bert.data.table import Table
from mtl_bert.files import replacing
from mtl_bert.reporting.results import Scores, TaskScore
from mtl_bert.tasks import Task, score
from mtl_bert.training.predictions import Answers


@dataclass(frozen=True)
class Evaluation:
    """The model's answers after an epoch.

    Attributes:
        scores: of all tasks.
        predictions: per task, in the order of the dev set: [N] each.
        confidence: the probability of each prediction, NaN where there is none: [N] each.
        remarks: metrics that were undefined.
    """

    scores: Scores
    predictions: Mapping[str, NDArray[np.float64]]
    confidence: Mapping[str, NDArray[np.float64]]
    remarks: tuple[str, ...]


def evaluate(
    epoch: int,
    tasks: Sequence[Task],
    answers: Mapping[str, Answers],
) -> Evaluation:
    """Score every task's predictions against its labels."""
    results, remarks = {}, []
    for task in tasks:
        predictions, labels, _ = answers[task.name]
        value, remark = task.evaluate(predictions, labels)
        results[task.name] = TaskScore(metric=task.metric_name, value=value, n=len(labels))
        if remark:
            remarks.append(remark)
    total = score(tasks, {name: result.value for name, result in results.items()})
    return Evaluation(
        Scores(epoch=epoch, score=total, tasks=results),
        {name: given.predictions.to(torch.float64).numpy() for name, given in answers.items()},
        {name: given.confidence.to(torch.float64).numpy() for name, given in answers.items()},
        tuple(remarks),
    )


def write_predictions(
    path: Path,
    table: Table,
    predictions: NDArray[np.float64],
    confidence: NDArray[np.float64],
) -> None:
    """Write a dev set with its predictions.

    Columns: id, the text or both of a pair, label, prediction, and the confidence in it (empty
    where there is none).
    """
    pair = len(table.texts[0]) == 2
    columns = ["id", "text", *(["text2"] if pair else []), "label", "prediction", "confidence"]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        labels = np.full(len(table), np.nan) if table.labels is None else table.labels
        rows = zip(table.ids, table.texts, labels, predictions, confidence, strict=True)
        for row_id, texts, label, prediction, sure in rows:
            # Digits enough for the metric to be computed again from the file.
            numbers = [f"{label:.15g}", f"{prediction:.9g}"]
            writer.writerow([row_id, *texts, *numbers, "" if math.isnan(sure) else f"{sure:.9g}"])
