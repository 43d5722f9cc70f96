"""See how the jobs of a sweep are: ``mtl-bert sweep status DIR``."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {"done": "green", "running": "cyan", "failed": "red", "stopped": "yellow", "waiting": ""}

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.sweep")


@app.callback()
def sweep() -> None:
    """Show how far a sweep's jobs are."""


@app.command(cls=console.Command, epilog="Example: mtl-bert sweep status runs/sweep")
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a sweep")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show a line for each job.

    A job is done, running, failed, stopped (it goes on when the sweep's command is given again) or
    waiting.
    """
    from mtl_bert.jobs.folder import Folder, describe
    from mtl_bert.utils.screen import Screen

    found = Folder(folder)
    jobs = [describe(found, name) for name in found.names()]
    if not jobs:
        raise UserError(
            f"DIR: expected the folder of a sweep, found no jobs in {folder}; write for example "
            "mtl-bert sweep status runs/sweep"
        )
    if as_json:
        print(json.dumps(jobs, indent=1))
        return
    shown = Screen()
    shown.print(_table(folder, jobs))
    for job in jobs:
        if job["error"]:
            shown.print(f"failed: {job['name']}: {job['error']}", soft_wrap=True)


def _table(folder: Path, jobs: Sequence[Mapping[str, Any]]) -> "Table":
    """A row for each run, and how many are in which state."""
    from rich.table import Table
    from rich.text import Text

    counts = Counter(job["state"] for job in jobs)
    summary = ", ".join(f"{counts[state]} {state}" for state in COLOURS if counts[state])
    table = Table(title=f"{folder}: {summary}", title_justify="left")
    table.add_column("run", overflow="fold")  # a name is for copying
    table.add_column("state")
    for heading in ("best epoch\n(last so far)", "its\nscore", "minutes of\ntraining"):
        table.add_column(heading, justify="right")
    numbers = {"epoch": ".0f", "score": ".3f", "minutes": ".2f"}
    for job in jobs:
        cells = ("" if job[of] is None else f"{job[of]:{how}}" for of, how in numbers.items())
        table.add_row(job["name"], Text(job["state"], COLOURS[job["state"]]), *cells)
    return table


if __name__ == "__main__":
    main()
