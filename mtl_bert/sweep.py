"""See how the jobs of a sweep are: ``mtl-bert sweep status DIR``."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.sweep")


@app.callback()
def sweep() -> None:
    """See what has become of a sweep's jobs."""


@app.command(cls=console.Command, epilog="Example: mtl-bert sweep status runs/sweep")
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a sweep")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show a line for each job.

    A job is done, running, failed, stopped (it goes on when the sweep's command is given again) or
    waiting.
    """
    from mtl_bert.jobs.folder import Folder, describe, status_table
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
    shown.print(status_table(folder, jobs))
    for job in jobs:
        if job["error"]:
            shown.print(f"failed: {job['name']}: {job['error']}", soft_wrap=True)


if __name__ == "__main__":
    main()
