"""Using the program as people do: by its command line, in another process or in this one."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from mtl_bert.__main__ import main
from mtl_bert.config.compose import CONF
from mtl_bert.runs.results import Results
from mtl_bert.training import run as running
from tests.composing import settings_of
from tests.forking import new_process

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
SURGERIES = sorted(path.stem for path in (CONF / "surgery").glob("*.yaml"))

# Two tasks, a few dozen examples: a run of this takes a moment.
SMALL = (
    "task=[sst,sts]",
    "data.scale=0.005",
    "tasks.sst.sources.demo.dev=40",
    "tasks.sts.sources.demo.dev=30",
    "epochs=1",
    "batch_size=8",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: object
    out: str
    err: str


Command = Callable[..., Outcome]


def python_m(module: str, *arguments: str, cwd: Path, **environment: str) -> Outcome:
    """Run ``python -m mtl_bert.MODULE``, which takes seconds to import what it needs."""
    ended = subprocess.run(
        [sys.executable, "-m", f"mtl_bert.{module}", *arguments],
        cwd=cwd,
        env=_environment(cwd) | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def _environment(home: Path) -> dict[str, str]:
    """Without any W&B account."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return inherited | {"HOME": str(home), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Started:
    """A command in a process of its own, and the files that hold what it writes."""

    process: BaseProcess
    out: Path
    err: Path

    def end(self) -> Outcome:
        """Wait until it has ended."""
        self.process.join(300)
        if self.process.exitcode is None:
            self.process.kill()
        return Outcome(
            self.process.exitcode, self.out.read_text("utf-8"), self.err.read_text("utf-8")
        )


def start(module: str, *arguments: str, cwd: Path, **environment: str) -> Started:
    """Start ``mtl-bert MODULE`` in a process of its own."""
    out, err = (cwd.with_name(f"{cwd.name}.{name}") for name in ("out", "err"))
    for path in (out, err):
        path.write_bytes(b"")
    environment = _environment(cwd) | environment

    def work() -> None:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        for stream, path in ((sys.stdout, out), (sys.stderr, err)):
            with path.open("ab") as file:
                os.dup2(file.fileno(), stream.fileno())
        try:
            main([module, *arguments])
        finally:
            sys.stdout.flush()

    return Started(new_process(work), out, err)


def program(module: str, *arguments: str, cwd: Path, **environment: str) -> Outcome:
    """Run ``mtl-bert MODULE`` in a process of its own."""
    return start(module, *arguments, cwd=cwd, **environment).end()


def train_here(directory: Path, *overrides: str) -> Results:
    """Carry out a small run in this process and read what it left."""
    running.run(settings_of(*SMALL, *overrides), directory)
    return results_in(directory)


def results_in(directory: Path) -> Results:
    """The results of a finished run."""
    return Results.model_validate_json((directory / "results.json").read_text("utf-8"))


def tree(directory: Path) -> list[str]:
    """Everything below a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
