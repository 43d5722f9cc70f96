"""A run's figures: its training, each task's part in updates, and conflicts in the encoder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import INK, Look, draw, series_looks
from mtl_bert.analysis.figures.kinds import POINTS, heat_map, lines_figure
from mtl_bert.analysis.studies import SCORE, Subject
from mtl_bert.runs.results import PairConflict, Results

if TYPE_CHECKING:  # what is drawn, by the module that has these drawn
    from mtl_bert.analysis.gradient_conflicts import Joint

COSINE, SHARE = "mean cosine", "% of steps in conflict"
HOW = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
)


def training_figure(results: Results, tasks: Sequence[str], subject: Subject) -> Figure:
    """Training loss and dev metrics of each epoch; at least one has been trained."""
    points: list[tuple[str, str, int, float]] = []
    for epoch in results.epochs:
        points += [("training loss", t, epoch.epoch, loss) for t, loss in epoch.losses.items()]
    scored = [epoch.scores for epoch in results.epochs]
    # The untrained model's are like theirs where all are of whole dev sets.
    for scores in (results.untrained if results.dev_sample is None else None, *scored):
        if scores is not None:
            values = {task: score.value for task, score in scores.tasks.items()}
            values[SCORE] = scores.score
            points += [("dev metrics and score", t, scores.epoch, v) for t, v in values.items()]
    whole, on = "", "Epoch 0 is the untrained model."
    if (sample := results.dev_sample) is not None:
        whole = ", on whole dev sets"
        on = f"Epochs were scored on at most {sample:,} examples of each dev set."
    ends = ", ".join(f"{task} {score.value:.3f}" for task, score in results.last.tasks.items())
    about = Figure(
        "course",
        "Losses and dev metrics",
        subject,
        f"Over {len(results.epochs)} epochs: each task's mean training loss and its dev metric. "
        f"After the last epoch{whole}: {ends}.",
        f"Losses are means over an epoch's examples. {on}",
    )
    looks = {**series_looks(tasks), SCORE: Look(INK, line=(0, (4, 2)))}
    return _lines(about, points, looks)


def conflicts_figure(
    found: "Mapping[int, Joint]", pairs: Sequence[str], subject: Subject
) -> Figure:
    """Over the epochs: mean cosine and share of steps in conflict of each pair."""
    points = [
        (panel, pair, epoch, value)
        for epoch, joint in found.items()
        for pair, met in joint.pairs.items()
        for panel, value in ((COSINE, met.cosine), (SHARE, 100 * met.conflicting))
    ]
    about = Figure(
        "conflicts", "Conflicts over the epochs", subject,
        f"{COSINE} and {SHARE} of {', '.join(pairs)} over epochs {min(found)} to {max(found)}; "
        "the table below has the numbers.",
        HOW,
    )  # fmt: skip
    return _lines(about, points, series_looks(pairs))


def parts_figure(found: "Mapping[int, Joint]", tasks: Sequence[str], subject: Subject) -> Figure:
    """Over the epochs: each task's gradient, and its part in the update."""
    points = []
    for epoch, joint in found.items():
        for task, own in joint.tasks.items():
            values = (own.norm, 100 * joint.parts[task], own.before, own.after)
            points += [(p, task, epoch, v) for p, v in zip(_PARTS, values, strict=True)]
    about = Figure(
        "parts", "Each task in the update", subject,
        f"Over epochs {min(found)} to {max(found)}, for {', '.join(tasks)}: the length of the "
        "gradient, the part of the update, and the cosine of the gradient with the plain sum of "
        "all and with the update.",
        "Joint steps only. Parts add up to 100 %; a task that pulls against the update has a "
        "negative one. Where a task's cosine with the update is above that with the plain sum of "
        "gradients, the update agrees more with the task than the sum would.",
    )  # fmt: skip
    return _lines(about, points, series_looks(tasks))


_PARTS = ("length of the gradient", "% of the update", "cosine with the sum", "cosine with update")


def _lines(
    about: Figure, points: Sequence[tuple[str, str, int, float]], looks: Mapping[str, Look]
) -> Figure:
    """Lines over epochs, for a run's page only."""
    frame = pd.DataFrame(points, columns=POINTS)
    panels = dict.fromkeys(frame["panel"].unique(), "")
    return lines_figure(about, frame, looks, panels, "epoch", files=False)


def layers_figure(
    found: Mapping[str, Mapping[str, PairConflict]], pairs: Sequence[str], subject: Subject
) -> Figure:
    """Parts of the encoder against pairs: mean cosine and share of steps in conflict."""
    names, columns = list(found), [pair.replace("/", "/\n") for pair in pairs]

    def frame(what: str) -> pd.DataFrame:
        nothing = PairConflict.model_construct(cosine=np.nan, conflicting=np.nan)
        rows = [[getattr(met.get(p, nothing), what) for p in pairs] for met in found.values()]
        return pd.DataFrame(rows, names, columns)

    cosines = frame("cosine")
    end = max(0.05, float(np.nanmax(np.abs(cosines))))  # weaker cosines are near nothing

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, sharey=True)
        heat_map(left, cosines, "RdBu", -end, end)
        heat_map(right, 100 * frame("conflicting"), "Oranges", 0, 100, digits=0)
        left.set_title(COSINE)
        right.set_title(SHARE)

    about = Figure(
        "layers", "Conflicts by part of the encoder", subject,
        f"Heat maps of {numbers.counted(len(names), 'part')} ({names[0]} to {names[-1]}) against "
        f"{', '.join(pairs)}: {COSINE} and {SHARE}.",
        "Over all epochs, in the steps that were looked at. Red: gradients point against each "
        f"other on average; blue: the same way. {HOW}",
    )  # fmt: skip
    return draw(about, paint, 0.9 + 0.23 * max(3, len(names)), files=False)
