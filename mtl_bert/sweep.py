"""See how the jobs of a sweep are: ``python -m mtl_bert.sweep status DIR``."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from mtl_bert.jobs.folder import Folder, described, status_table
from mtl_bert.utils.errors import UserError, told_in_a_line


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl_bert.sweep",
        description="See what has become of a sweep's jobs: done, running, failed, stopped "
        "(goes on when the sweep's command is given again) or waiting.",
    )
    commands = parser.add_subparsers(required=True, metavar="status")
    status = commands.add_parser("status", help="a line for each job")
    status.add_argument("folder", metavar="DIR", type=Path, help="the sweep's, such as runs/sweep")
    status.add_argument("--json", action="store_true", help="for programs")
    chosen = parser.parse_args()
    with told_in_a_line():
        show_status(chosen.folder, as_json=chosen.json)


def show_status(path: Path, *, as_json: bool = False) -> None:
    """Print the state of every job of the sweeps in a folder.

    Raises:
        UserError: there are none.
    """
    folder = Folder(path)
    jobs = described(folder)
    if not jobs:
        raise UserError(
            f"DIR: expected the folder of a sweep, found no jobs in {path}; write for example "
            "python -m mtl_bert.sweep status runs/sweep"
        )
    if as_json:
        print(json.dumps([job._asdict() for job in jobs], indent=1))
        return
    console = Console(highlight=False)
    console.print(status_table(path, jobs))
    for job in jobs:
        if job.error:
            console.print(f"failed: {job.name}: {job.error}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
