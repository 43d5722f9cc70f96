"""Predictions as leaderboards want them handed in: the CS224N handout's, and GLUE's.

The handout's:

A header line, then a line for each row of the file in the file's order, with the handout's own
spaces: ``id \\t Predicted_Sentiment \\n`` and ``ID , PREDICTION \\n``.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from torch import Tensor

from mtl_bert.data.table import Table
from mtl_bert.runs.factories import make_corpus, make_tasks
from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.tasks import Regression, Task
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import replacing, write_together


def write_submission(
    opened: OpenedRun, names: Sequence[str], split: str, out: Path
) -> dict[Path, Table]:
    """Write the submission files of some tasks, all of them or none.

    Returns:
        Each file, and the rows that it answers.

    Raises:
        UserError, OSError: rows or a model that cannot be had, or nowhere to write.
    """
    if out == opened.folder.submission:
        opened.folder.refuse_links()
    tasks = [task for task in make_tasks(opened.settings) if task.name in names]
    tables = make_corpus(opened.settings, tasks).rows(split)
    texts, answered = {}, {}
    for task in tasks:
        path = out / file_name(task, split)
        answered[path] = table = tables[task.name]
        texts[path] = file_text(task, table, opened.predictor.outputs(task.name, table))
    if len(texts) < len(tasks):
        raise UserError(
            f"task: expected a submission file of its own for each of {', '.join(names)}, found "
            "two of one name; mend submission.file in a task's file"
        )
    write_together(texts)
    return answered


def file_name(task: Task, split: str) -> str:
    """What the file of a task's predictions is called."""
    return f"{task.submission.file or task.name}-{split}-output.csv"


def file_text(task: Task, table: Table, outputs: Tensor) -> str:
    """The content of such a file, from what the task's head gives for each row: [N, ...]."""
    predictions = task.head.predict(outputs).tolist()
    # Classes as whole numbers, all else as single-precision numbers, as the handout prints.
    numbers = task.head.label_type.is_floating_point and not task.head.per_class
    written = np.float32 if numbers else str  # of several labels at once, a list of 0 and 1
    lines = [
        f"{row_id} , {written(prediction)!s} \n"
        for row_id, prediction in zip(table.ids, predictions, strict=True)
    ]
    return f"id \t {task.submission.column} \n" + "".join(lines)


GLUE = (
    "AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv", "QQP.tsv", "RTE.tsv",
    "SST-2.tsv", "STS-B.tsv", "WNLI.tsv",
)  # fmt: skip
"""The files without any of which GLUE's server refuses a zip (gluebenchmark.com/faq)."""

WNLI = 146, "0"
"""The rows of WNLI's test set, and the class that most of its training set has."""


def write_glue(opened: OpenedRun, names: Sequence[str], out: Path) -> list[str]:
    """Write GLUE's zip, if any of the tasks is of GLUE; a line for each file and what is missing.

    The task that answers AX, GLUE's diagnostic set, does so if that set can be had. WNLI, whose
    classes are best left to the majority, is so answered unless one of the tasks is trained on it.
    """
    texts, said = dict[str, str](), list[str]()
    for task in make_tasks(opened.settings):
        for file, split in task.submission.glue.items() if task.name in names else ():
            try:
                table = make_corpus(opened.settings, [task]).rows(split)[task.name]
            except UserError as error:
                if file != "AX.tsv":
                    raise
                said.append(f"no AX.tsv: {error}")
                continue
            predictions = task.head.predict(opened.predictor.outputs(task.name, table)).tolist()
            texts[file] = _glue_text(_for_glue(task, prediction) for prediction in predictions)
            said.append(f"{file}, {len(table):,} rows of {table.origin}")
    if not texts:
        return []
    if "WNLI.tsv" not in texts:
        rows, majority = WNLI
        texts["WNLI.tsv"] = _glue_text([majority] * rows)
        said.append(
            f"WNLI.tsv, {rows} rows of {majority}, its training set's majority class, as no task "
            "is trained on it"
        )
    if missing := [file for file in GLUE if file not in texts]:
        said.append(f"without {', '.join(missing)}, and GLUE's server takes all {len(GLUE)} files")
    with replacing(out) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for file, text in texts.items():
            archive.writestr(file, text)
    return said


def _glue_text(predictions: Iterable[str]) -> str:
    return "index\tprediction\n" + "".join(f"{n}\t{p}\n" for n, p in enumerate(predictions))


def _for_glue(task: Task, prediction: float) -> str:
    """A class's name or number, or a number on the task's scale with three digits."""
    head = task.head
    if isinstance(head, Regression):
        return f"{min(max(prediction, head.low), head.high):.3f}"
    return str(head.called(prediction)) if task.submission.names else str(int(prediction))
