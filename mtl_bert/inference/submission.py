"""Predictions as the CS224N handout wants them handed in.

A header line, then a line for each row of the file in the file's order, with the handout's own
spaces: ``id \\t Predicted_Sentiment \\n`` and ``ID , PREDICTION \\n``.
"""

import numpy as np
from torch import Tensor

from mtl_bert.data import Table
from mtl_bert.tasks import Task


def file_name(task: Task, split: str) -> str:
    """What the file of a task's predictions is called."""
    return f"{task.submission.file or task.name}-{split}-output.csv"


def file_text(task: Task, table: Table, outputs: Tensor) -> str:
    """The content of such a file, from what the task's head gives for each row: [N, ...]."""
    predictions = task.head.predict(outputs).tolist()
    lines = [
        f"{row_id} , {_written(task, prediction)} \n"
        for row_id, prediction in zip(table.ids, predictions, strict=True)
    ]
    return f"id \t {task.submission.column} \n" + "".join(lines)


def _written(task: Task, prediction: float) -> str:
    """Classes as whole numbers, all else as single-precision numbers, as the handout prints."""
    if task.head.label_type.is_floating_point:
        return str(np.float32(prediction))
    return str(int(prediction))
