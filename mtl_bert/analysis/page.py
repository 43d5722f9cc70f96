"""The whole report, put together from frames: for each setting the answer first, then all else."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mtl_bert.analysis.blocks import (
    BAD, GOOD, QUIET, Article, Badge, Block, Cell, Chart, Page, Section, Table, Text, bar, dots, table,
)  # fmt: skip
from mtl_bert.analysis.columns import Column, column, write
from mtl_bert.analysis.frames import Frames, UnusableError
from mtl_bert.analysis.methods import setting_words

MISTAKES = 200  # wrong answers of a task that the page lists
SUPERSEDED = "left out: a newer run has the same method and seed"


def runs_table(setting: pd.Series, frames: Frames, numbers: Mapping[str, int]) -> Table:
    """Every run of a setting, also those that no other table shows; names lead to their views."""
    shown = frames.runs.copy()
    values = frames.scores.pivot(index="run", columns="task", values="value")
    tasks = list(setting["tasks"])
    shown = shown.merge(values[tasks].add_suffix(".value").reset_index(), on="run", how="left")
    shown["remark"] = ["" if one is False else SUPERSEDED for one in shown["superseded"]]
    shown = shown.sort_values(["method", "epochs", "seed"], kind="stable")
    link = [Cell(str(run), link=f"#run={numbers[run]}" if run in numbers else "") for run in shown["run"]]
    return table(
        f"{setting['slug']}-runs", "All runs",
        shown.drop(columns=["overrides", "notes", "versions", "directory"]),
        ["run", "method", "seed", "epochs", "best_epoch",
         *(f"{task}.value" for task in tasks),
         "score", "last_score", "minutes", "device", "commit",
         own("remark", "remark", "why it is in no other table")],
        cells={"run": link}, folded=True,
        caption="Scores are the best epoch's.",
    )  # fmt: skip


def provenance(setting: pd.Series, frames: Frames) -> list[Block]:
    """What the runs have in common, and commits, devices, seeds, versions and notes."""
    runs = frames.runs
    common = [f"{key}: {_pairs(value)}" for key, value in setting["words"].items() if key != "tasks"]
    days = f"{runs['finished'].min():%Y-%m-%d} to {runs['finished'].max():%Y-%m-%d}"
    versions = sorted({_pairs(each) for each in runs["versions"]})
    origin = [
        f"Commits: {_listed(commit or 'unknown' for commit in runs['commit'])}",
        f"Devices: {_listed(runs['device'])}",
        f"Seeds: {_listed(map(str, sorted(runs['seed'].unique())))}",
        f"Versions: {' | '.join(versions)}",
        f"Finished: {days}",
    ]
    notes = sorted({note for each in runs["notes"] for note in each})
    blocks: list[Block] = [
        Text("What all runs of this setting have in common:", tuple(common)),
        Text("Where they come from:", tuple(origin)),
    ]
    return [*blocks, Text("Notes of the runs:", tuple(notes))] if notes else blocks


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return setting_words(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def mistakes(frames: Frames, score: pd.Series, most: int) -> pd.DataFrame:
    """The worst answers of a run to a task, the worst first.

    Of classes the wrong ones with the highest confidence, of numbers those farthest off.

    Args:
        frames: with the run.
        score: the row of ``scores`` of the run and task.
        most: how many at most.

    Raises:
        UnusableError: there are no predictions.
    """
    found = frames.answers(score["run"], score["task"])
    found = found.assign(error=(found["prediction"] - found["label"]).abs())
    by = "confidence" if score["classes"] is not None else "error"
    return found[found["error"] > 0].sort_values(by, ascending=False, kind="stable").head(most)
