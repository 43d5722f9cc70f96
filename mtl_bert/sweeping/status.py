"""The jobs of a folder as a table for people, or as records for programs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from mtl_bert.sweeping.folder import Folder, State

COLOURS = {State.DONE: "green", State.RUNNING: "cyan", State.FAILED: "red", State.STOPPED: "yellow"}


class JobStatus(NamedTuple):
    """What has become of one run.

    Attributes:
        name: of its directory.
        state: done, running, failed, stopped or waiting.
        epoch: the last that it was scored after; the best one where it is done.
        score: after that epoch.
        minutes: of training so far.
        error: how it failed.
    """

    name: str
    state: State
    epoch: int | None = None
    score: float | None = None
    minutes: float | None = None
    error: str | None = None


def described(folder: Folder) -> list[JobStatus]:
    """Every run of a folder's sweeps, in the order in which they were asked for."""
    return [_describe(folder, name) for name in folder.names()]


def _describe(folder: Folder, name: str) -> JobStatus:
    state = folder.state(name)
    if results := folder.results(name):
        minutes = sum(epoch.seconds for epoch in results.epochs) / 60
        return JobStatus(name, state, results.best_epoch, results.score, minutes)
    error = folder.failure(name) if state == State.FAILED else None
    epoch, score = folder.epochs(name) or (None, None)
    return JobStatus(name, state, epoch, score, error=error)


def status_table(path: Path, jobs: Sequence[JobStatus]) -> Table:
    """A row for each run, and how many are in which state."""
    counts = Counter(job.state for job in jobs)
    summary = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    table = Table(title=f"{path}: {summary}", title_justify="left")
    table.add_column("run", overflow="fold")  # a name is for copying
    table.add_column("state")
    for heading in ("epoch", "score", "minutes"):
        table.add_column(heading, justify="right")
    for job in jobs:
        table.add_row(
            job.name,
            f"[{COLOURS[job.state]}]{job.state}[/]" if job.state in COLOURS else job.state,
            "" if job.epoch is None else str(job.epoch),
            "" if job.score is None else f"{job.score:.3f}",
            "" if job.minutes is None else f"{job.minutes:.1f}",
        )
    return table
