"""What is known of a sweep's jobs, on disk, so that any process may die and any other look.

A folder holds the folder of each run and, in ``.sweep``, for each sweep the list of its jobs and
perhaps the reason why no more are started, and for each job a lock that its process holds and how
the job failed. A job's state follows from these files; nobody has to keep it up to date.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from mtl_bert.runs.results import CONFIG, Record, Results, RunFolder
from mtl_bert.utils.files import write_text

RECORDS = ".sweep"


class State(StrEnum):
    """What has become of a job."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"


class Job(Record):
    """One combination of a sweep's values; its name is its run's, which equal jobs share."""

    number: int
    name: str
    overrides: tuple[str, ...]


class Sweep(Record):
    """One command's jobs; none are known beforehand where a sweeper invents them as it goes."""

    command: tuple[str, ...]
    started: datetime
    jobs: tuple[Job, ...]

    @cached_property
    def key(self) -> str:
        """What tells this sweep from others in its folder: its jobs' runs, or else its command."""
        names = [job.name for job in self.jobs] or sorted(self.command)
        return hashlib.blake2b("\n".join(names).encode(), digest_size=6).hexdigest()


class Folder:
    """A folder of sweeps, which holds the runs' folders."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Sweeps.

    def add(self, sweep: Sweep, process: str) -> None:
        """Note what a command asks for, whose process that is, and try again what failed."""
        self._file(process, "stop").unlink(missing_ok=True)  # of one that had the same number
        for job in sweep.jobs:
            self._file(job.name, "failed").unlink(missing_ok=True)
        write_text(self._file(sweep.key, "json"), sweep.model_dump_json(indent=1) + "\n")

    def sweeps(self) -> list[Sweep]:
        """All that were asked for, the oldest first."""
        found = []
        for path in (self.path / RECORDS).glob("*.json"):
            with suppress(OSError, ValidationError):  # of another program: it has no jobs
                found.append(Sweep.model_validate_json(path.read_text("utf-8")))
        return sorted(found, key=lambda sweep: sweep.started)

    def names(self) -> list[str]:
        """The runs of all sweeps, each once, also those that only their directories tell of."""
        asked = [job.name for sweep in self.sweeps() for job in sweep.jobs]
        found = sorted(path.parent.name for path in self.path.glob(f"*/{CONFIG}"))
        return list(dict.fromkeys([*asked, *found]))

    def first_number(self, key: str, name: str) -> int | None:
        """Which of a sweep's jobs is the first that is the run of that name."""
        jobs = [job for sweep in self.sweeps() if sweep.key == key for job in sweep.jobs]
        return min((job.number for job in jobs if job.name == name), default=None)

    def stop(self, process: str, reason: str) -> None:
        """Have no more jobs started of the sweep that a process carries out."""
        write_text(self._file(process, "stop"), reason)

    def stopped(self, process: str) -> str | None:
        """Why no more jobs of that sweep are started, if so."""
        return _text(self._file(process, "stop"))

    # Jobs.

    def run(self, name: str) -> RunFolder:
        """The folder of a job's run."""
        return RunFolder(self.path / name)

    def state(self, name: str) -> State:
        """What has become of a job."""
        if self.run(name).results.exists():
            return State.DONE
        if self._held(name):
            return State.RUNNING
        if self.failure(name) is not None:
            return State.FAILED
        return State.STOPPED if self.run(name).config.exists() else State.WAITING

    def results(self, name: str) -> Results | None:
        """What a finished run has to say, or None if it is not finished or cannot be read."""
        try:
            return self.run(name).read_results()
        except (OSError, ValueError):
            return None

    def epochs(self, name: str) -> tuple[int, float] | None:
        """The last epoch that a run has been scored after, and its score."""
        try:
            lines = self.run(name).metrics.read_text("utf-8").splitlines()
            records = (json.loads(line) for line in reversed(lines))
            last = next(record for record in records if record["score"] is not None)
            return int(last["epoch"]), float(last["score"])
        except (OSError, ValueError, TypeError, LookupError, StopIteration):
            return None

    def fail(self, name: str, error: str) -> None:
        """Note that a job failed."""
        write_text(self._file(name, "failed"), error)

    def failure(self, name: str) -> str | None:
        """How a job failed, if it did."""
        return _text(self._file(name, "failed"))

    def output(self, name: str) -> Path:
        """Where the output of a job goes that runs beside others."""
        path = self._file(name, "out")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def lock(self, name: str) -> FileLock:
        """What a job's process holds: a second process for the same run has to wait for it."""
        path = self._file(name, "lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _held(self, name: str) -> bool:
        path = self._file(name, "lock")
        if not path.exists():
            return False
        try:
            with FileLock(path, blocking=False):
                return False
        except Timeout:
            return True

    def _file(self, name: str, kind: str) -> Path:
        return self.path / RECORDS / f"{name}.{kind}"


def _text(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


COLOURS = {State.DONE: "green", State.RUNNING: "cyan", State.FAILED: "red", State.STOPPED: "yellow"}


class JobStatus(NamedTuple):
    """What has become of one run.

    Its epoch is the best one where it is done, otherwise the last that it was scored after, and its
    score the one after that epoch. Minutes are known of runs that are done, and are of training.
    """

    name: str
    state: State
    epoch: int | None = None
    score: float | None = None
    minutes: float | None = None
    error: str | None = None


def describe(folder: Folder, name: str) -> JobStatus:
    """How a run of a folder's sweeps is."""
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
            Text(job.state, COLOURS.get(job.state, "")),
            "" if job.epoch is None else str(job.epoch),
            "" if job.score is None else f"{job.score:.3f}",
            "" if job.minutes is None else f"{job.minutes:.1f}",
        )
    return table
