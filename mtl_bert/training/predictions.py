"""What the model says about the dev sets, batch by batch, in whatever process.

Shapes: N dev examples.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from mtl_bert.data.collate import Batch


class Predictions:
    """Collects predictions until all are there.

    Args:
        tasks: their names.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._batches: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {t: [] for t in tasks}
        self._finite: list[Tensor] = []

    def add(self, task: str, batch: Batch, outputs: Tensor, predictions: Tensor) -> None:
        """Note what the model says about a batch: its head's outputs, and what they mean."""
        assert batch.labels is not None
        self._batches[task].append((predictions, batch.labels, batch.rows))
        self._finite.append(outputs.isfinite().all())

    def gather(self, processes: int) -> tuple[bool, dict[str, tuple[Tensor, Tensor]]]:
        """Bring together what the processes have.

        Returns:
            Whether all outputs were finite; predictions [N] and labels [N] of each task, in the
            order of its dev set.
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
            predictions, labels, rows = map(torch.cat, columns)
            order = rows.argsort()  # batches are sorted by length
            gathered[task] = predictions[order], labels[order]
        return all(finite for finite, _ in shares), gathered
