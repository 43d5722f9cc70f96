"""Each run's own view as data for the page: what it says in words, tables and charts.

A sentence says what was counted and nothing about why. What chance would make stands beside what
was found, since a negative cosine alone is no news.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from mtl_bert.analysis import summaries
from mtl_bert.analysis.blocks import Row, cells, own
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.figures import GREY, SERIES
from mtl_bert.analysis.frames import Frames
from mtl_bert.analysis.leaderboard import SCORE

Rows = dict[Any, list[Row]]
CAUSES = {
    "synthetic": "SYNTHETIC", "partial": "PARTIAL DATA", "contaminated": "CONTAMINATED",
}  # fmt: skip
"""What a badge says of a flag."""
TABLES = {
    "scores": ("Scores, and the data that were used", (
        "task", "metric", "value", "untrained", "last", "n", "train", "examples", "unique",
        "fraction", "effective_epochs")),
    "phases": ("Time per phase", (
        "phase", "steps", "examples", "seconds",
        own("of_time", "of the time", "share of all training time", ".1%"),
        own("cost", "seconds per 1,000 examples", "what examples take", ",.2f", "s"))),
    "pairs": ("Pairs of tasks in joint steps", ("pair", "steps", "cosine", "conflicting")),
    "parts": ("Each task in the update of joint steps", (
        "task", "steps", "norm", "share", "before", "after")),
    "answers": ("The worst answers", (
        "task", "text", "text2", own("right", "true", ""), own("told", "predicted", ""),
        own("sure", "confidence or error", "", ".3f"))),
}  # fmt: skip
KINDS = {
    kind: (title, tuple(column(c) if isinstance(c, str) else c for c in columns))
    for kind, (title, columns) in TABLES.items()
}
"""Tables of a view: title and columns."""
COURSE = {"loss": "training loss", "value": "dev metric"}
COSINES = {"cosine": "mean cosine", "conflicting": "share of steps in conflict"}
PARTS = {
    "norm": "length of the gradient", "share": "part of the update",
    "before": "cosine with the plain sum", "after": "cosine with the update",
}  # fmt: skip
"""Panels of charts over epochs: column and what its axis is called."""


def views(frames: Frames, worst: Mapping[str, Sequence[Row]]) -> Iterator[dict[str, Any]]:
    """Every run's view, in the order of the frame.

    Args:
        frames: of the runs.
        worst: run -> rows of its worst answers.
    """
    settings = {row["setting"]: row for row in frames.settings.to_dict("records")}
    scores, epochs, phases = map(_by_run, (frames.scores, frames.epochs, _phases(frames)))
    joint = _by_run(summaries.joint_steps(frames, "run"))
    pairs, pair_epochs, layers = (
        _by_run(summaries.pairs(frames, "run", *by)) for by in ((), ("epoch",), ("part",))
    )
    parts, part_epochs = (
        _by_run(summaries.influences(frames, "run", *by)) for by in ((), ("epoch",))
    )
    rivals = _rivals(frames)
    for run in frames.runs.to_dict("records"):
        name, setting = run["run"], settings[run["setting"]]
        tables = {"scores": scores[name], "phases": phases[name], "pairs": pairs[name],
                  "parts": parts[name], "answers": worst.get(name, ())}  # fmt: skip
        scored = {row["epoch"]: row["epoch_score"] for row in epochs[name]}
        course = [*epochs[name], *({"task": SCORE, "epoch": epoch, "value": score}
                                   for epoch, score in scored.items())]  # fmt: skip
        tasks, met = [r["task"] for r in scores[name]], [r["pair"] for r in pairs[name]]
        charts = (
            _lines("Losses and dev metrics", course, "task", [*tasks, SCORE], COURSE),
            _lines("Conflicts over the epochs", pair_epochs[name], "pair", met, COSINES),
            _lines("Each task in the update", part_epochs[name], "task", tasks, PARTS),
            _heat("Mean cosine by part of the encoder", layers[name]),
        )
        facts = {
            "command": " ".join(run["overrides"] or ["not recorded"]),
            "commit": run["commit"] or "unknown", "device": run["device"],
            "finished": f"{run['finished']:%Y-%m-%d %H:%M} UTC", "notes": "; ".join(run["notes"]),
        }  # fmt: skip
        yield {
            "name": name, "home": setting["slug"],
            "lead": f"{run['method']}, seed {run['seed']}, epochs: {run['epochs']}; "
                    f"data {run['data']}, encoder {run['encoder']}.",
            "badges": [[CAUSES[word], about] for word, about in setting["badges"]],
            "words": words(run, joint[name], pairs[name], parts[name],
                           rivals[run["setting"], run["epochs"]]),
            "tables": {
                kind: [[cell.packed() for cell in row] for row in cells(rows, KINDS[kind][1])]
                for kind, rows in tables.items() if rows
            },
            "charts": [chart for chart in charts if chart],
            "facts": [[fact, value] for fact, value in facts.items() if value],
        }  # fmt: skip


def _by_run(frame: pd.DataFrame) -> Rows:
    found: Rows = defaultdict(list)
    for row in frame.to_dict("records"):
        found[row["run"]].append(row)
    return found


def _rivals(frames: Frames) -> Rows:
    """What runs of a setting and length are held against: round-robin, then single-task models.

    Of several such methods the first one counts.
    """
    found: Rows = defaultdict(list)
    counting = frames.runs[~frames.runs["superseded"] & (frames.runs["last_epoch"] > 0)]
    for sampler in ("rr", "single"):
        named = counting[counting["sampler"] == sampler]
        for place, runs in named.groupby(["setting", "epochs"], observed=True):
            first = runs["method"].cat.as_ordered().min()  # in the order of methods: the plainest
            alike = runs[runs["method"] == first]
            found[place].append({
                "method": first, "score": alike["score"].mean(), "n": len(alike),
                "minutes": alike["minutes"].mean(), "devices": set(alike["device"]),
            })  # fmt: skip
    return found


def words(
    run: Row,
    joint: Sequence[Row],
    pairs: Sequence[Row],
    parts: Sequence[Row],
    rivals: Sequence[Row],
) -> list[str]:
    """What a run says of its score, of its price, and of what the tasks did to each other.

    Args:
        run: its row.
        joint: its joint steps: one row, or none.
        pairs: the pairs of tasks that met in them.
        parts: the tasks in them.
        rivals: what it is held against; it is none itself.
    """
    if not run["last_epoch"]:
        return [
            f"Nothing was trained: the dev score of {write('score', run['score'])} is chance's."
        ]
    said = (
        f"Training took {write('minutes', run['minutes'])} minutes per epoch; the dev score is "
        f"{write('score', run['score'])} (best epoch, {run['best_epoch']} of {run['last_epoch']})."
    )
    if not isnan(run["untrained_score"]):
        said += f" Untrained it was {write('score', run['untrained_score'])}."
    rival = next((each for each in rivals if each["method"] != run["method"]), None)
    if rival is None:
        said += (
            " No run of round-robin or of single-task models stands beside it, so whether that is "
            "much cannot be said."
        )
        return [said, *_conflict(joint, pairs, parts)]
    times = "; it ran on another device, so times say nothing"
    if rival["devices"] == {run["device"]}:
        ratio = run["minutes"] / rival["minutes"] if rival["minutes"] > 0 else None
        times = f" for {write('time_ratio', ratio)} times its minutes"
    change = write("difference", run["score"] - rival["score"])
    said += (
        f" {rival['method']} in the same setting has {write('score', rival['score'])} "
        f"(n={rival['n']}): {change}{times}. This is one seed; the leaderboard judges methods by "
        "all of theirs."
    )
    return [said, *_conflict(joint, pairs, parts)]


def _conflict(joint: Sequence[Row], pairs: Sequence[Row], parts: Sequence[Row]) -> list[str]:
    if not joint or not pairs:
        return ["No step had two tasks, so their gradients never met."]
    most = min(pairs, key=lambda pair: (-pair["conflicting"], pair["cosine"]))
    some = write("conflicting", 1 - 0.5 ** len(pairs))
    conflict = (
        f"In {write('conflicting', joint[0]['conflicting'])} of "
        f"{write('steps', joint[0]['steps'])} joint steps at least two tasks' gradients pointed "
        "against each other, most often "
        f"{str(most['pair']).replace('/', ' and ')} ({write('conflicting', most['conflicting'])}, "
        f"mean cosine {write('cosine', most['cosine'])}). Gradients that have nothing to do with "
        f"each other would do so in about half of the steps for each pair, and some pair in {some}."
    )
    removed = joint[0]["removed"]
    how = "as long as"
    if abs(removed) >= 0.0005:
        how = f"{write('removed', abs(removed))} {'shorter' if removed > 0 else 'longer'} than"
    largest = max(parts, key=lambda part: part["share"])
    change = (
        f"The update was {how} the plain sum of the gradients, on average. {largest['task']} has "
        f"the largest part of it: {write('share', largest['share'])} (equal parts would be "
        f"{write('share', 1 / len(parts))})."
    )
    return [conflict, change]


def _lines(
    title: str, rows: Sequence[Row], series: str, names: Sequence[str], panels: Mapping[str, str]
) -> dict[str, Any] | None:
    """Lines over epochs, as data for a chart; None without a point.

    Args:
        title: of the chart.
        rows: with the columns epoch, ``series`` and those of the panels.
        series: the column that names a line.
        names: of all lines, in order.
        panels: column -> what its axis is called.
    """
    points = [
        [panel, names.index(row[series]), int(row["epoch"]), float(f"{row[name]:.4g}")]
        for row in rows
        for panel, name in enumerate(panels)
        if pd.notna(row.get(name))
    ]
    colours = [GREY if name == SCORE else SERIES[n % len(SERIES)] for n, name in enumerate(names)]
    made = {"title": title, "panels": list(panels.values()), "names": list(names),
            "colours": colours, "points": points}  # fmt: skip
    return made if points else None


def _heat(title: str, rows: Sequence[Row]) -> dict[str, Any] | None:
    """Parts of the encoder against pairs of tasks, as data for a chart; None without any."""
    found = [[row["part"], row["pair"], round(row["cosine"], 4), round(row["conflicting"], 3)]
             for row in rows]  # fmt: skip
    return {"title": title, "cells": found} if found else None


def _phases(frames: Frames) -> pd.DataFrame:
    """Steps, examples and seconds of each run's phases over all epochs, with what they cost."""
    sums = frames.phases.groupby(["run", "phase"], observed=True, sort=False)
    found = sums[["steps", "examples", "seconds"]].sum().reset_index()
    total = found.groupby("run", observed=True)["seconds"].transform("sum")
    return found.assign(
        of_time=found["seconds"] / total,
        cost=1000 * found["seconds"] / found["examples"].where(found["examples"] > 0),
    )
