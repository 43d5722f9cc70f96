"""What the model says about the dev sets, batch by batch, in whatever process.

Shapes: N dev examples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from mtl_bert.data.collate import Batch
from mtl_bert.tasks import Head


class Answers(NamedTuple):
    """What the model says about a task's dev set, in the order of the dev set.

    Attributes:
        predictions: in the labels' own values: [N].
        labels: what would have been right: [N].
        confidence: the probability that each prediction has, NaN where there is none: [N].
    """

    predictions: Tensor
    labels: Tensor
    confidence: Tensor


class Predictions:
    """Collects predictions until all are there.

    Args:
        tasks: their names.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._batches: dict[str, list[tuple[Tensor, ...]]] = {t: [] for t in tasks}
        self._finite: list[Tensor] = []

    def add(self, task: str, batch: Batch, outputs: Tensor, head: Head) -> None:
        """Note what the model says about a batch: the outputs of the task's head."""
        assert batch.labels is not None
        read = head.predict(outputs), batch.labels, head.confidence(outputs), batch.rows
        self._batches[task].append(read)
        self._finite.append(outputs.isfinite().all())

    def gather(self, processes: int) -> tuple[bool, dict[str, Answers]]:
        """Bring together what the processes have.

        Returns:
            Whether all outputs were finite; each task's answers.
        """
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
