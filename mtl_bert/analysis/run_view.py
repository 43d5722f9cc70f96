"""Each run's own view: what it says in words, tables and charts."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mtl_bert.analysis import figures, summaries
from mtl_bert.analysis.blocks import TABLES, Article, Block, Row, Text, chart, table
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import Frames
from mtl_bert.analysis.leaderboard import SCORE
from mtl_bert.runs.answers import UnusableError, has_texts
from mtl_bert.runs.results import RunFolder

WORST = 5  # answers to a task that a view lists


def views(frames: Frames) -> Iterator[Article]:
    """Every run's view, in the order of the frame."""
    epochs = frames.epochs.astype({"task": str})
    scores = epochs.drop_duplicates(["run", "epoch"]).assign(task=SCORE, loss=float("nan"))
    course = pd.concat([epochs, scores.assign(value=scores["epoch_score"])])
    parts = {
        "run": frames.runs, "scores": frames.scores, "phases": summaries.phases(frames),
        "joint": summaries.joint_steps(frames, "run"), "pairs": summaries.pairs(frames, "run"),
        "parts": summaries.influences(frames, "run"), "answers": _worst(frames),
        "course": course.dropna(subset=["loss", "value"], how="all"),
        "pairs_course": summaries.pairs(frames, "run", "epoch"),
        "parts_course": summaries.influences(frames, "run", "epoch"),
        "layers": summaries.pairs(frames, "run", "part"),
    }  # fmt: skip
    shown: dict[str, list[Block]] = {str(run): [] for run in frames.runs["run"]}
    for kind, frame in parts.items():
        name, about = f"view-{kind}", TABLES[f"view-{kind}"]
        columns = about["columns"]
        drawn = chart(name, figures.of_run(about["title"], *columns)) if "drawn" in about else None
        for run, own in frame.groupby("run", observed=True):
            if drawn is None:
                shown[str(run)].append(table(name, own))
            else:  # Vega would take an empty field for 0
                rows = own.to_csv(columns=columns, index=False, float_format="%.4g", na_rep="nan")
                shown[str(run)].append(drawn._replace(rows=rows))
    settings = frames.settings.set_index("setting")
    for row in frames.runs.to_dict("records"):
        name, about = str(row["run"]), settings.loc[row["setting"]].to_dict()
        command = f"Command: {' '.join(row['overrides'] or ['not recorded'])}"
        shown[name].append(Text(command, row["notes"]))
        lead = f"data {row['data']}, encoder {row['encoder']}."
        yield Article(about["slug"], name, lead, shown[name], about["badges"])


def mistakes(frames: Frames, score: Row, most: int) -> pd.DataFrame:
    """A run's wrong answers to a task, the worst first; right and told are the answers in words.

    Of classes those with the highest confidence, of numbers those farthest off; ``sure`` is that.
    At most ``most``; ``score`` is the row of ``scores``.

    Raises:
        UnusableError: its predictions are missing or damaged.
    """
    found, classes = frames.answers(score["run"], score["task"]), score["classes"]
    error = (found["prediction"] - found["label"]).abs()
    found = found.assign(sure=error if classes is None else found["confidence"])[error > 0]
    worst = found.sort_values("sure", ascending=False, kind="stable").head(most)

    def named(value: float) -> str:
        known = bool(classes) and value in range(len(classes))
        return str(classes[int(value)]) if known else write("value", value)

    return worst.assign(
        run=score["run"], task=score["task"],
        right=worst["label"].map(named), told=worst["prediction"].map(named),
    )  # fmt: skip


def _worst(frames: Frames) -> pd.DataFrame:
    """Every run's worst answers, where readers may see the texts."""
    found = [pd.DataFrame({"run": []})]
    places = dict(zip(frames.runs["run"], map(Path, frames.runs["directory"]), strict=True))
    for score in frames.scores.to_dict("records") if frames.texts else ():
        try:
            if has_texts(RunFolder(places[score["run"]]).predictions(score["task"])):
                found.append(mistakes(frames, score, WORST))
        except (OSError, UnusableError):
            continue
    return pd.concat(found)
