"""Predictions on the dev sets, and the scores they get. Shapes: N dev examples."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.table import Encoded, Table
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.results import RunFolder, Scores, TaskScore
from mtl_bert.tasks import Task, score
from mtl_bert.training.divergence import DivergedError
from mtl_bert.utils.files import replacing


class Answers(NamedTuple):
    """What the model says about a task's dev set, in its order; tensors of shape [N].

    Predictions are in the labels' own values; the confidence is the probability that each of them
    has, NaN where there is none.
    """

    predictions: Tensor
    labels: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Evaluation:
    """The model's answers after an epoch, their scores, and metrics that were undefined."""

    scores: Scores
    answers: Mapping[str, Answers]
    remarks: tuple[str, ...]

    def columns(self) -> dict[str, dict[str, Tensor]]:
        """The predictions of each task, and the confidence in them, as a checkpoint keeps them."""
        names, answers = ("predictions", "confidence"), self.answers.items()
        return {name: {task: getattr(of, name).double() for task, of in answers} for name in names}


class Predictions:
    """Collects predictions until all are there, and scores them."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._batches: dict[str, list[tuple[Tensor, ...]]] = {task.name: [] for task in tasks}

    def add(self, task: Task, batch: Batch, outputs: Tensor) -> None:
        """Note what the model says about a batch: the outputs of the task's head."""
        assert batch.labels is not None
        head = task.head
        answers = head.predict(outputs), head.targets(batch.labels), head.confidence(outputs)
        # Metrics read what each asks for: predictions, or probabilities ([N] or [N, C classes]).
        read = (way(outputs) for way in task.reads.values())
        finite = outputs.isfinite().reshape(len(outputs), -1).all(1)
        self._batches[task.name].append((*answers, *read, finite, torch.from_numpy(batch.rows)))

    def evaluate(self, epoch: int, processes: int) -> Evaluation:
        """Score all processes' predictions; DivergedError if some are not finite."""
        own = {
            task: [torch.cat(column).cpu() for column in zip(*batches, strict=True)]
            for task, batches in self._batches.items()
        }
        shares = [own] * processes
        if processes > 1:
            dist.all_gather_object(shares, own)
        answers, scores, remarks = dict[str, Answers](), dict[str, TaskScore](), []
        for task in self._tasks:
            columns = zip(*(share[task.name] for share in shares if share[task.name]), strict=True)
            *found, finite, rows = map(torch.cat, columns)
            if not finite.all():
                raise DivergedError(
                    f"epoch {epoch}: expected finite predictions, found others; "
                    "a lower lr usually helps"
                )
            order = rows.argsort()  # batches are sorted by length
            predictions, labels, confidence, *read = (column[order] for column in found)
            answers[task.name] = Answers(predictions, labels, confidence)
            values = {}
            for name, asked in zip(task.reads, read, strict=True):
                values[name], remark = task.evaluate(asked, labels, name)
                remarks += [remark] if remark else []
            scores[task.name] = TaskScore(
                metric="+".join(task.scored),
                value=sum(values[name] for name in task.scored) / len(task.scored),
                n=len(labels),
                metrics=values if len(values) > 1 else None,
                lower_is_better=task.lower_is_better,
                constant=task.evaluate_constant(labels),
            )
        total = score(self._tasks, {name: of_task.value for name, of_task in scores.items()})
        return Evaluation(Scores(epoch=epoch, score=total, tasks=scores), answers, tuple(remarks))


@torch.inference_mode()
def score_more(
    model: MultiTaskModel, more: Mapping[str, Mapping[str, Encoded]], batch_size: int
) -> dict[str, dict[str, TaskScore]]:
    """The scores of further labelled sets: task -> name -> score."""
    device, found = next(model.parameters()).device, dict[str, dict[str, TaskScore]]()
    model.eval()
    for name, sets in more.items():
        task = model.tasks[name]
        for called, encoded in sets.items():
            predictions, rows = Predictions([task]), Tokenized(encoded, task.head.label_type)
            for numbers in encoded.batches(batch_size):
                batch = rows[numbers].to(device)
                predictions.add(task, batch, model(name, batch))
            found.setdefault(name, {})[called] = predictions.evaluate(0, 1).scores.tasks[name]
    return found


def write_predictions(
    folder: RunFolder, dev: Mapping[str, Table], columns: Mapping[str, Any]
) -> None:
    """Write the labelled dev sets with ``Evaluation.columns``.

    Columns: id, the text or both of a pair, label, prediction, and the confidence in it (empty
    where there is none).
    """
    predictions, confidence = columns["predictions"], columns["confidence"]
    for task, table in dev.items():
        assert table.labels is not None
        # Digits enough for the metric to be computed again from the file.
        frame = {
            "id": table.ids,
            **dict(zip(("text", "text2"), zip(*table.texts, strict=True), strict=False)),
            "label": _written(_like(table.labels, predictions[task]), 15),
            "prediction": _written(predictions[task].numpy(), 9),
            "confidence": ["" if math.isnan(c) else f"{c:.9g}" for c in confidence[task].tolist()],
        }
        with (
            replacing(folder.predictions(task)) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(frame)
            rows.writerows(zip(*frame.values(), strict=True))


def _like(labels: NDArray[np.float64], predictions: Tensor) -> NDArray[np.float64]:
    """Labels in the form of predictions: of shares of classes the class with the largest."""
    largest: NDArray[np.float64] = labels.argmax(-1).astype(np.float64)
    return largest if labels.ndim > predictions.dim() else labels


def _written(values: NDArray[Any], digits: int) -> list[str]:
    """Each row's number, or its numbers with spaces between."""
    rows = values.reshape(len(values), -1).tolist()
    return [" ".join(f"{number:.{digits}g}" for number in row) for row in rows]
