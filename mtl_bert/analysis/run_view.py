"""Each run's own view: what it says in words, tables and charts."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from mtl_bert.analysis import figures, summaries
from mtl_bert.analysis.blocks import Article, Block, Chart, Row, Text, table
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import LEFT_OUT, Frames, UnusableError
from mtl_bert.analysis.leaderboard import SCORE
from mtl_bert.runs.results import RunFolder

WORST = 5  # answers to a task that a view lists
CHARTS = {
    "course": ("Losses and dev metrics", "task", ("loss", "value")),
    "pairs_course": ("Conflicts over the epochs", "pair", ("cosine", "conflicting")),
    "parts_course": ("Each task in the update", "task", ("norm", "share", "before", "after")),
}
"""Charts over epochs: title, what has a line, and a panel for each measure."""


def views(frames: Frames) -> Iterator[Article]:
    """Every run's view, in the order of the frame."""
    by_epoch = frames.epochs.drop_duplicates(["run", "epoch"])
    scored = by_epoch.assign(task=SCORE, value=by_epoch["epoch_score"], loss=float("nan"))
    course = pd.concat([frames.epochs.astype({"task": str}), scored])
    phases = summaries.phases(frames)
    total = phases.groupby("run", observed=True)["seconds"].transform("sum")
    parts = {
        "scores": frames.scores, "phases": phases.assign(of_time=phases["seconds"] / total),
        "answers": _worst(frames),
        "joint": summaries.joint_steps(frames, "run"), "pairs": summaries.pairs(frames, "run"),
        "parts": summaries.influences(frames, "run"),
        "course": course.dropna(subset=["loss", "value"], how="all"),
        "pairs_course": summaries.pairs(frames, "run", "epoch"),
        "parts_course": summaries.influences(frames, "run", "epoch"),
        "layers": summaries.pairs(frames, "run", "part"),
    }  # fmt: skip
    by_run = {kind: _by_run(part) for kind, part in parts.items()}
    drawn = {
        kind: (figures.over_epochs(title, by, names).to_dict(), ["epoch", by, *names])
        for kind, (title, by, names) in CHARTS.items()
    }
    drawn["layers"] = figures.by_part().to_dict(), ["part", "pair", "cosine", "conflicting"]
    settings = {row["setting"]: row for row in frames.settings.to_dict("records")}
    for run in frames.runs.to_dict("records"):
        own = {kind: found.get(run["run"], []) for kind, found in by_run.items()}
        joint = own["joint"][0] if own["joint"] else {}
        told: Any = {name: write(name, joint.get(name))
                     for name in ("conflicting", "steps", "removed")}  # fmt: skip
        shown: list[Block] = [Text(words(run))]
        shown += [
            table(f"view-{kind}", own[kind], **told)
            for kind in ("scores", "phases", "pairs", "parts", "answers")
            if own[kind]
        ]
        shown += [Chart(f"view-{kind}", spec, _csv(own[kind], fields))
                  for kind, (spec, fields) in drawn.items() if own[kind]]  # fmt: skip
        shown.append(Text("Provenance:", [
            f"command: {' '.join(run['overrides'] or ['not recorded'])}",
            f"commit: {run['commit'] or 'unknown'}", f"device: {run['device']}",
            f"finished: {run['finished']:%Y-%m-%d %H:%M} UTC", *run["notes"],
        ]))  # fmt: skip
        setting = settings[run["setting"]]
        lead = (f"{run['method']}, seed {run['seed']}, epochs: {run['epochs']}; data "
                f"{run['data']}, encoder {run['encoder']}.")  # fmt: skip
        yield Article(setting["slug"], "", str(run["run"]), setting["badges"], lead, "", shown)


def _by_run(frame: pd.DataFrame) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in frame.to_dict("records"):
        found.setdefault(row["run"], []).append(row)
    return found


def _csv(rows: Iterable[Row], fields: Sequence[str]) -> str:
    """Some fields of rows, with numbers as precise as a chart shows."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        values = (row[name] for name in fields)
        writer.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in values])
    return written.getvalue()


def words(run: Row) -> str:
    """What a run says of its score and its price."""
    if not run["last_epoch"]:
        return f"Nothing was trained: the dev score of {write('score', run['score'])} is chance's."
    before = f" Untrained it was {write('score', run['untrained_score'])}."
    return (
        f"Training took {write('minutes', run['minutes'])} minutes per epoch; the dev score is "
        f"{write('score', run['score'])} (best epoch, {run['best_epoch']} of {run['last_epoch']})."
        f"{'' if isnan(run['untrained_score']) else before} This is one seed; the leaderboard "
        "judges methods by all of theirs."
    )


def mistakes(frames: Frames, score: Row, most: int) -> pd.DataFrame:
    """A run's wrong answers to a task, the worst first; right and told are the answers in words.

    Of classes those with the highest confidence, of numbers those farthest off; ``sure`` is that.
    At most ``most``; a few only where there are no texts. ``score`` is the row of ``scores``.

    Raises:
        UnusableError: its predictions are missing or damaged.
    """
    found, classes = frames.answers(score["run"], score["task"]), score["classes"]
    error = (found["prediction"] - found["label"]).abs()
    found = found.assign(sure=error if classes is None else found["confidence"])[error > 0]
    worst = found.sort_values("sure", ascending=False, kind="stable").head(most)
    if (worst["text"] == LEFT_OUT).all():
        worst = worst.head(WORST).drop(columns=["text", "text2"], errors="ignore")

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
            with RunFolder(places[score["run"]]).predictions(score["task"]).open("rb") as file:
                if LEFT_OUT.encode() not in b"".join(islice(file, 2)):  # from an archive
                    found.append(mistakes(frames, score, WORST))
        except (OSError, UnusableError):
            continue
    return pd.concat(found)
