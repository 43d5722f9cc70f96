"""Dashboards in Weights & Biases: ``mtl-bert dashboard``."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError

if TYPE_CHECKING:
    from mtl_bert.tracking.wandb_workspaces import Subject

PROJECT, OUT = "mtl-bert", Path("dashboards")

EXAMPLES = f"""\b
Examples
  mtl-bert dashboard
      in your own entity, over all runs of the project mtl-bert
  mtl-bert dashboard --run {console.EXAMPLE}
      the run's workspace shows that run only; tasks and project are the run's
  mtl-bert dashboard --out dashboards
      create nothing, write run.json and sweep.json

docs/reference/metrics.md says what each metric is.
"""
app = console.application()
main = partial(console.run, app, "python -m mtl_bert.dashboard")


@app.command(cls=console.Command, epilog=EXAMPLES)
def dashboard(
    project: Annotated[
        str, typer.Option(metavar="NAME", help=f"Default: the run's, or {PROJECT}.")
    ] = "",
    entity: Annotated[str, typer.Option(metavar="NAME", help="Default: your account's.")] = "",
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A run with logger=wandb.")
    ] = None,
    trust: console.Trust = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Write files only (without an account: {OUT})."),
    ] = None,
) -> None:
    """Create workspaces of your runs in W&B.

    A workspace for a run (dev scores, losses, conflicts, utilisation, time, answers), one for a
    sweep over λ × B × sampler (parallel coordinates, score against minutes, curves by group), of
    runs with logger=wandb.

    Without an account or a network it writes what it would create into files. Needs
    pip install 'mtl-bert[dashboard]'.
    """
    if find_spec("wandb_workspaces") is None:
        raise UserError(
            "dashboard: expected the wandb-workspaces package, found none installed; "
            "write pip install 'mtl-bert[dashboard]'"
        )
    subject = _subject(run, entity, project, trust)
    # It takes seconds to import: options that are wrong are refused before that.
    from mtl_bert.tracking.wandb_workspaces import NoAccountError, create, dashboards, write

    why = "--out was given"
    if out is None:
        try:
            print("\n".join(create(subject)))
            return
        except NoAccountError as error:
            why, out = str(error), OUT
    paths = ", ".join(str(path) for path in write(dashboards(subject), out))
    print(f"{why}: nothing was created; what would be was written to {paths}")


def _subject(run: Path | None, entity: str, project: str, trust: Path | None) -> "Subject":
    """What is wanted, and what the run's own configuration says where it is given."""
    from mtl_bert.config.compose import known_tasks
    from mtl_bert.config.saved import saved_settings
    from mtl_bert.runs.results import RunFolder
    from mtl_bert.tracking.wandb_workspaces import Subject

    if run is None:
        return Subject(entity, project or PROJECT, list(known_tasks()))
    folder = RunFolder(run)
    if not folder.config.is_file():
        raise UserError(
            f"--run: expected the directory of a run, found no {folder.config.name} in {run}; "
            f"write for example {console.EXAMPLE}"
        )
    settings = saved_settings(folder.config, trust=trust)
    if (wandb_id := folder.wandb_id) is None:
        raise UserError(
            f"--run: expected the directory of a run with logger=wandb, found no W&B run in "
            f"{run}; write a run's directory that has wandb in it"
        )
    own = settings.logger.get("wandb", {}).get("project", PROJECT)
    return Subject(entity, project or own, list(settings.tasks), wandb_id)


if __name__ == "__main__":
    main()
