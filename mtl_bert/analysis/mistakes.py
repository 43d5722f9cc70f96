"""The wrong answers that a model is most sure of, as the paper lists some."""

import numpy as np

from mtl_bert.analysis.document import Block, Cell, Column, Record, Table, Text
from mtl_bert.analysis.heads import Classes, Scale
from mtl_bert.analysis.runs import Predictions
from mtl_bert.analysis.studies import Study

SHOWN = 5


def mistakes(found: Predictions, head: Classes | Scale) -> list[int] | None:
    """The places of the worst answers, the worst first; None where nothing says how sure.

    Of classes the wrong ones with the highest confidence, of numbers those farthest off.
    """
    if isinstance(head, Scale):
        badness = np.abs(found.predictions - found.labels)
        wrong = badness > 0
    else:
        if found.confidences is None or not np.isfinite(found.confidences).any():
            return None
        badness = np.nan_to_num(found.confidences, nan=-1.0)
        wrong = found.predictions != found.labels
    places = np.flatnonzero(wrong)
    worst = places[np.argsort(-badness[places], kind="stable")][:SHOWN]
    return [int(place) for place in worst]


def mistakes_block(
    study: Study, name: str, run: str, task: str, head: Classes | Scale, found: Predictions
) -> Block:
    """A task's list."""
    worst = mistakes(found, head)
    if worst is None:
        return Text(
            f"{task}: the wrong answers that the model is most sure of cannot be told, because the "
            "predictions of this run were saved without confidences (by an older version)."
        )
    if isinstance(head, Scale):
        by, last = "largest errors", "error"
    else:
        by, last = "most confident wrong answers", "confidence"
    rows: list[tuple[Cell, ...]] = []
    records: list[Record] = []
    for place in worst:
        label, prediction = float(found.labels[place]), float(found.predictions[place])
        if isinstance(head, Scale):
            sure = abs(prediction - label)
            true, predicted = f"{label:.2f}", f"{prediction:.2f}"
        else:
            assert found.confidences is not None
            sure = float(found.confidences[place])
            true, predicted = (_class(head, number) for number in (label, prediction))
        texts = " | ".join(found.texts[place])
        rows.append((Cell(texts), Cell(true), Cell(predicted), Cell(f"{sure:.3f}")))
        records.append(
            {"id": found.ids[place],
             **{f"text{n or ''}": t for n, t in zip(("", 2), found.texts[place], strict=False)},
             "label": true, "prediction": predicted, last: sure, "subject": study.subject.words}
        )  # fmt: skip
    return Table(
        name=name,
        heading=f"{task}: {by} of {run}",
        subject=study.subject,
        columns=(
            Column("text | text" if len(found.texts[0]) > 1 else "text", numeric=False),
            Column("true", numeric=False),
            Column("predicted", numeric=False),
            Column(last),
        ),
        rows=tuple(rows),
        caption="" if rows else "There is no wrong answer.",
        records=tuple(records),
    )


def _class(head: Classes, number: float) -> str:
    place = int(number)
    return head.names[place] if 0 <= place < len(head.names) else f"{number:g}"
