"""Dashboards in Weights & Biases: ``python -m mtl_bert.dashboard``."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mtl_bert.config.compose import known_tasks, saved_settings
from mtl_bert.tracking.wandb_workspaces import Subject, run_id
from mtl_bert.utils.errors import UserError, told_in_a_line

PROJECT, OUT = "mtl-bert", Path("dashboards")

DESCRIPTION = """\
Create what W&B shows of runs with logger=wandb: a workspace for a run (dev scores, losses,
conflicts, utilisation, time, answers), one for a sweep over λ × B × sampler (parallel coordinates,
score against minutes, curves by group), and a report of the tables.

Without an account or a network it writes what it would create into files. Needs
pip install 'mtl-bert[dashboard]'."""

EPILOG = """\
examples
  python -m mtl_bert.dashboard
      in your own entity, over all runs of the project mtl-bert
  python -m mtl_bert.dashboard --run runs/2026-11-24/06-23-45-arrp-seed1
      the run's workspace shows that run only; tasks and project are the run's
  python -m mtl_bert.dashboard --out dashboards
      create nothing, write run.json, sweep.json and report.json

docs/metrics.md says what each metric is."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_in_a_line():
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Create the dashboards, or write them down.

    Raises:
        UserError: the run or the package is not there, or W&B refuses.
    """
    if find_spec("wandb_workspaces") is None:
        raise UserError(
            "dashboard: expected the wandb-workspaces package, found none installed; "
            "write pip install 'mtl-bert[dashboard]'"
        )
    subject = _subject(options)
    # It takes seconds to import: options that are wrong are refused before that.
    from mtl_bert.tracking.wandb_workspaces import (
        NoAccountError,
        create,
        dashboards,
        default_entity,
        write,
    )

    why, out = "--out was given", options.out
    if out is None:
        try:
            own = default_entity()
            named = Subject(subject.entity or own, subject.project, subject.tasks, subject.run)
            print("\n".join(create(dashboards(named))))
        except NoAccountError as error:
            why, out = str(error), OUT
        else:
            return
    paths = ", ".join(str(path) for path in write(dashboards(subject), out))
    print(f"{why}: nothing was created; what would be was written to {paths}")


def _subject(options: argparse.Namespace) -> Subject:
    """What is wanted, and what the run's own configuration says where it is given."""
    directory: Path | None = options.run
    if directory is None:
        return Subject(options.entity, options.project or PROJECT, known_tasks())
    if not (directory / "config.yaml").is_file():
        raise UserError(
            f"--run: expected the directory of a run, found no config.yaml in {directory}; "
            "write a directory such as runs/2026-11-24/06-23-45-arrp-seed1"
        )
    settings = saved_settings(directory / "config.yaml")
    project = settings.logger.get("wandb", {}).get("project", PROJECT)
    return Subject(options.entity, options.project or project, settings.tasks, run_id(directory))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mtl_bert.dashboard",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--project", metavar="NAME", help=f"default: the run's, or {PROJECT}")
    parser.add_argument("--entity", metavar="NAME", default="", help="default: your account's")
    parser.add_argument("--run", metavar="RUNDIR", type=Path, help="a run with logger=wandb")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help=f"write files only (without an account: {OUT})"
    )
    return parser


if __name__ == "__main__":
    main()
