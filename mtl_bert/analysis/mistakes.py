"""The paper's section 6 for a run: its answers drawn, and those wrong ones it is most sure of."""

import numpy as np

from mtl_bert.analysis import paper
from mtl_bert.analysis.document import Block, Column, Text, table
from mtl_bert.analysis.figures.predictions import confusion_figure, scatter_figure
from mtl_bert.analysis.run_files import Classes, Predictions, Run, Scale, UnusableError
from mtl_bert.analysis.studies import Study

SHOWN = 5
_NUMBERS = {
    task: f"Figure {number}: "
    for number, task in enumerate((paper.SENTIMENT, paper.PARAPHRASE, paper.SIMILARITY), start=2)
}


def answer_blocks(study: Study, run: Run, task: str, stem: str) -> list[Block]:
    """A task's figure and the wrong answers that a run is most sure of, or why there are none."""
    head = run.head(task)
    if head is None:
        return [Text(f"{task}: its head is of a kind that this report has no figure for.")]
    try:
        found = run.predictions(task)
    except UnusableError as error:
        return [
            Text(f"{task}: no figure, because the predictions of {run.name} are no use: {error}.")
        ]
    of = f"of {paper.TITLES.get(task, task).lower()} ({task}), {run.name}"
    number = _NUMBERS.get(task, "")
    if isinstance(head, Classes):
        places = (found.labels, found.predictions)
        if any((x < 0).any() or (x >= len(head.names)).any() for x in places):
            return [Text(f"{task}: no figure, because predictions are not among the classes.")]
        heading = f"{number}confusion matrix and labels {of}"
        given = run.results.data.train_labels[task]
        figure = confusion_figure(f"{stem}-confusion", heading, study.subject, given, head, found)
    else:
        heading = f"{number}true and predicted values {of}"
        figure = scatter_figure(f"{stem}-scatter", heading, study.subject, head, found)
    return [figure, mistakes_table(study, f"{stem}-mistakes", run.name, task, head, found)]


def mistakes(found: Predictions, head: Classes | Scale) -> list[int]:
    """The places of the worst answers, the worst first.

    Of classes the wrong ones with the highest confidence, of numbers those farthest off.
    """
    if isinstance(head, Scale):
        badness = np.abs(found.predictions - found.labels)
        wrong = badness > 0
    else:
        badness = np.nan_to_num(found.confidences, nan=-1.0)
        wrong = found.predictions != found.labels
    places = np.flatnonzero(wrong)
    worst = places[np.argsort(-badness[places], kind="stable")][:SHOWN]
    return [int(place) for place in worst]


def mistakes_table(
    study: Study, name: str, run: str, task: str, head: Classes | Scale, found: Predictions
) -> Block:
    """A task's list."""
    numeric_answers = isinstance(head, Scale)
    by, last = (
        ("largest errors", "error")
        if numeric_answers
        else ("most confident wrong answers", "confidence")
    )
    name_of = "{:.2f}".format if isinstance(head, Scale) else head.name
    records = []
    for place in mistakes(found, head):
        label, prediction = float(found.labels[place]), float(found.predictions[place])
        texts = found.texts[place]
        records.append({
            "id": found.ids[place], **dict(zip(("text", "text2"), texts, strict=False)),
            "label": name_of(label), "prediction": name_of(prediction),
            last: abs(prediction - label) if numeric_answers else float(found.confidences[place]),
            "_text": " | ".join(texts),
        })  # fmt: skip
    return table(
        name,
        f"{task}: {by} of {run}",
        study.subject,
        (
            Column(" | ".join(["text"] * len(found.texts[0])), numeric=False, key="_text"),
            Column("true", numeric=False, key="label"),
            Column("predicted", numeric=False, key="prediction"),
            Column(last, form="{:.3f}".format),
        ),
        records,
        caption="" if records else "There is no wrong answer.",
    )
