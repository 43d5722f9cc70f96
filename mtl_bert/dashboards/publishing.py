"""Creating dashboards in W&B, or writing down what would be created."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from mtl_bert.dashboards.subject import Subject
from mtl_bert.dashboards.tables import tables_report
from mtl_bert.dashboards.workspaces import run_workspace, sweep_workspace
from mtl_bert.errors import UserError
from mtl_bert.files import write_text

SECONDS = 20  # to wait for the W&B service


class NoAccountError(UserError):
    """There is no W&B account to create anything in, or no way to it."""


class Dashboards(NamedTuple):
    """All that there is."""

    run: ws.Workspace
    sweep: ws.Workspace
    report: wr.Report


def dashboards(subject: Subject) -> Dashboards:
    """Build them; nothing is asked or sent."""
    return Dashboards(run_workspace(subject), sweep_workspace(subject), tables_report(subject))


def default_entity() -> str:
    """The entity of the account that is logged in.

    Raises:
        NoAccountError: nobody is logged in, or the service cannot be reached.
    """
    try:
        if not wandb.login(prompt=False):
            raise NoAccountError("no W&B account is logged in")
        entity = wandb.Api(timeout=SECONDS).default_entity
    except (wandb.Error, OSError, ValueError) as error:
        raise NoAccountError(f"no W&B service ({_first(error)})") from error
    if not entity:
        raise NoAccountError("the W&B account has no default entity")
    return str(entity)


def create(made: Dashboards) -> list[str]:
    """Create them in W&B.

    Returns:
        Their addresses.

    Raises:
        NoAccountError: W&B is out of reach.
        UserError: it refuses.
    """
    try:
        # The report goes first: it creates the project where there is none.
        saved = [made.report.save(), made.run.save(), made.sweep.save()]  # type: ignore[no-untyped-call]
    except OSError as error:  # all that the requests library raises is one
        raise NoAccountError(f"no W&B service ({_first(error)})") from error
    except (wandb.Error, ValueError) as error:
        raise UserError(
            f"dashboard: expected a project that W&B lets you write to, found "
            f"{made.run.entity}/{made.run.project} ({_first(error)}); "
            "write another --entity or --project, or --out=DIR"
        ) from error
    return [str(one.url) for one in saved]


def write(made: Dashboards, out: Path) -> list[Path]:
    """Write what would be created, a JSON file each.

    Raises:
        UserError: the directory cannot be written.
    """
    paths = {out / f"{name}.json": specification(one) for name, one in made._asdict().items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, content in paths.items():
            write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(
            f"--out: expected a directory that can be written, found {error.strerror} at "
            f"{error.filename or out}; write another --out=DIR"
        ) from error
    return list(paths)


def specification(one: ws.Workspace | wr.Report) -> dict[str, Any]:
    """What W&B is sent; the library has no public name for it."""
    spec: dict[str, Any] = one._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return spec


def _first(error: Exception) -> str:
    """The gist of an error, in a line."""
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
