"""Using the program as people do: by its command line, in another process or in this one."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtl_bert.config.compose import CONF
from mtl_bert.runs.results import Results
from mtl_bert.training import run as running
from tests.composing import settings_of

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


def program(module: str, *arguments: str, cwd: Path, **environment: str) -> Outcome:
    """Run ``python -m mtl_bert.MODULE`` in a process of its own, without any W&B account."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    ended = subprocess.run(
        [sys.executable, "-m", f"mtl_bert.{module}", *arguments],
        cwd=cwd,
        env=inherited | {"HOME": str(cwd), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


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
