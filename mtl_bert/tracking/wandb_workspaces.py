"""Build what W&B shows of a project: a workspace of a run and one of a sweep.

``dashboards`` builds both without a network; ``create`` saves them in W&B, ``write`` writes what
would be saved into files. Panels are rows of ``panels.csv``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from mtl_bert.utils.errors import UserError, first_line
from mtl_bert.utils.files import write_together

TIMEOUT = 20  # seconds to wait for the W&B service
CHOICES = "Choices"  # the section of panels that compare runs
PANELS = pd.read_csv(Path(__file__).with_name("panels.csv"))


@dataclass(frozen=True)
class Subject:
    """Runs in a project."""

    entity: str  # the user or team whose project it is
    project: str
    tasks: Sequence[str]
    run: str | None = None  # that the run's workspace shows; None shows all


def panels(section: str) -> list[Any]:
    """The panels of a section of ``panels.csv``."""
    made: list[Any] = []
    for row in PANELS[PANELS["section"] == section].to_dict("records"):
        title, metric, x = row["title"], row["metric"], row["x"]
        if row["kind"] == "scatter":
            made.append(wr.ScatterPlot(title=title, x=_kept(x), y=_kept(metric)))
        elif row["kind"] == "parallel":
            columns = [wr.ParallelCoordinatesPlotColumn(metric=_kept(m)) for m in metric.split()]
            made.append(wr.ParallelCoordinatesPlot(title=title, columns=columns))
        else:
            which: dict[str, Any] = {"metric_regex": metric} if "+" in metric else {"y": [metric]}
            made.append(wr.LinePlot(title=title, x=x, **which, **json.loads(row["options"])))
    return made


def _kept(name: str) -> wr.Config | wr.SummaryMetric:
    """A setting of a run, or a number of its summary."""
    return wr.SummaryMetric(name) if name in ("score", "minutes_per_epoch") else wr.Config(name)


def dashboards(subject: Subject) -> dict[str, ws.Workspace]:
    """Build those of a run and of a sweep; nothing is asked or sent."""
    pinned = ["config:sampler.value.name", "config:lambda.value", "config:B.value",
              "summary:score", "summary:best_epoch", "summary:minutes_per_epoch"]  # fmt: skip
    charts = [f"answers/chart/{task}" for task in subject.tasks]
    mistakes = (f"answers/mistakes/{task}" for task in subject.tasks)
    curves = [section for section in PANELS["section"].unique() if section != CHOICES]
    images = wr.MediaBrowser(title="answers on the dev sets", media_keys=charts)
    tables = (wr.WeavePanelSummaryTable(table_name=name) for name in mistakes)
    answers = {"Answers": [images, *tables]}

    def workspace(name: str, sections: Sequence[str], **runs: Any) -> ws.Workspace:
        """A workspace of open sections; ``runs`` filters, groups and orders its table of runs."""
        shown = {section: panels(section) for section in sections} | answers
        return ws.Workspace(
            entity=subject.entity, project=subject.project, name=f"mtl_bert: {name}",
            sections=[ws.Section(name=n, panels=p, is_open=True) for n, p in shown.items()],
            settings=ws.WorkspaceSettings(x_axis="trainer/global_step"),
            runset_settings=ws.RunsetSettings(pinned_columns=pinned, **runs),
            auto_generate_panels=False,
        )  # fmt: skip

    run = workspace(
        f"run {subject.run}" if subject.run else "runs", curves,
        filters=expr.And(expr.Metric("ID") == subject.run) if subject.run else "",
        order=[expr.Ordering(expr.Metric("CreatedTimestamp"), ascending=False)],
    )  # fmt: skip
    sweep = workspace(
        "sweep over lambda, B and sampler", (CHOICES, *curves),
        groupby=[expr.Metric("Group")],  # repetitions of a setting together
        order=[expr.Ordering(expr.Summary("score"), ascending=False)],
    )  # fmt: skip
    return {"run": run, "sweep": sweep}


class NoAccountError(UserError):
    """There is no W&B account to create anything in, or no way to it."""


def create(subject: Subject) -> list[str]:
    """Create them in W&B, in the account's own entity where none is named; their addresses.

    Raises:
        NoAccountError: nobody is logged in, or W&B is out of reach.
        UserError: it refuses.
    """
    try:
        if not wandb.login(prompt=False):
            raise NoAccountError("no W&B account is logged in")
        api = wandb.Api(timeout=TIMEOUT)
        entity = subject.entity or api.default_entity
        if not entity:
            raise NoAccountError("the W&B account has no default entity")
        made = dashboards(replace(subject, entity=str(entity)))
    except (wandb.Error, OSError, ValueError) as error:
        raise NoAccountError(f"no W&B service ({first_line(error)})") from error
    try:
        api.create_project(subject.project, str(entity))  # no harm where there is one
        saved = [one.save() for one in made.values()]  # type: ignore[no-untyped-call]
    except OSError as error:  # all that the requests library raises is one
        raise NoAccountError(f"no W&B service ({first_line(error)})") from error
    except (wandb.Error, ValueError) as error:
        raise UserError(
            f"dashboard: expected a project that W&B lets you write to, found "
            f"{entity}/{subject.project} ({first_line(error)}); "
            "write another --entity or --project, or --out DIR"
        ) from error
    return [str(one.url) for one in saved]


def write(made: Mapping[str, ws.Workspace], out: Path) -> list[Path]:
    """Write what would be created, a JSON file each."""
    specs = {out / f"{name}.json": specification(one) for name, one in made.items()}
    texts = {p: json.dumps(s, indent=1, ensure_ascii=False) + "\n" for p, s in specs.items()}
    write_together(texts)
    return list(texts)


def specification(one: ws.Workspace) -> dict[str, Any]:
    """What W&B is sent; the library has no public name for it."""
    spec: dict[str, Any] = one._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return spec
