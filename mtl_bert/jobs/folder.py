"""What is known of a sweep's jobs, on disk, so that any process may die and any other look.

A folder holds the folder of each run and, in ``.sweep``, for each sweep the list of its jobs and
perhaps the reason why no more are started, and for each job a lock that its process holds and how
the job failed. A job's state follows from these files; nobody has to keep it up to date.
"""

import hashlib
import json
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from mtl_bert.config.settings import CONFIG
from mtl_bert.runs.results import Record, Results, RunFolder
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
        self.forget(process, State.STOPPED)  # of one that had the same number
        for job in sweep.jobs:
            self.forget(job.name, State.FAILED)
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

    # How a job failed, and why no more jobs of the sweep of a process are started.

    def note(self, name: str, state: State, why: str) -> None:
        """Note that a job, or a process, is in this state."""
        write_text(self._file(name, state), why)

    def noted(self, name: str, state: State) -> str | None:
        """Why a job, or a process, is in this state, if it is."""
        path = self._file(name, state)
        return path.read_text("utf-8") if path.exists() else None

    def failed_since(self, when: datetime) -> list[str]:
        """The runs that are known to have failed since then."""
        notes = sorted((self.path / RECORDS).glob(f"*.{State.FAILED}"))
        recent = [path for path in notes if path.stat().st_mtime >= int(when.timestamp())]
        return [path.name.removesuffix(f".{State.FAILED}") for path in recent]

    def forget(self, name: str, state: State) -> None:
        """Have a job, or a process, not in this state any more."""
        self._file(name, state).unlink(missing_ok=True)

    # Jobs.

    def run(self, name: str) -> RunFolder:
        """The folder of a job's run."""
        return RunFolder(self.path / name)

    def state(self, name: str) -> State:
        """What has become of a job."""
        failed = self.noted(name, State.FAILED) is not None
        # One that failed may have been finished otherwise, or failed as its results are unreadable.
        if self.results(name) is not None if failed else self.run(name).results.exists():
            return State.DONE
        if self._held(name):
            return State.RUNNING
        if failed:
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

    def output(self, name: str) -> Path:
        """Where the output of a job goes that runs beside others."""
        return self._file(name, "out")

    def lock(self, name: str) -> FileLock:
        """What a job's process holds: a second process for the same run has to wait for it."""
        return FileLock(self._file(name, "lock"))

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


def describe(folder: Folder, name: str) -> dict[str, Any]:
    """What has become of a run of a folder's sweeps, as ``mtl-bert sweep status --json`` says it.

    Its epoch is the best one where it is done, otherwise the last that it was scored after, and its
    score the one after that epoch. Minutes are known of runs that are done, and are of training.
    """
    state, results, minutes = folder.state(name), folder.results(name), None
    epoch, score = folder.epochs(name) or (None, None)
    if results:
        epoch, score = results.best_epoch, results.score
        minutes = sum(epoch.seconds for epoch in results.epochs) / 60
    error = folder.noted(name, State.FAILED) if state == State.FAILED else None
    reached = {"epoch": epoch, "score": score, "minutes": minutes}
    return {"name": name, "state": state, **reached, "error": error}
