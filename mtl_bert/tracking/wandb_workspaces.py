"""Build what W&B shows of a project: a workspace of a run, one of a sweep, and a report.

``dashboards`` builds all three without a network; ``create`` saves them in W&B, ``write`` writes
what would be saved into files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.run_files import Classes, Scale, head_of
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import write_text


@dataclass(frozen=True)
class Subject:
    """Runs in a project."""

    entity: str  # the user or team whose project it is
    project: str
    tasks: Mapping[str, Mapping[str, Any]]  # as settings say
    run: str | None = None  # that the run's workspace shows; None shows all

    @property
    def scores(self) -> list[str]:
        """The tasks' dev scores."""
        return [f"dev/{task}/{node['metric_name']}" for task, node in self.tasks.items()]

    @property
    def images(self) -> list[str]:
        """The figures of the best epoch's answers."""
        heads = {task: head_of(dict(node)) for task, node in self.tasks.items()}
        kinds = {"confusion": Classes, "scatter": Scale}
        return [
            f"answers/{kind}/{task}"
            for kind, heads_of_it in kinds.items()
            for task, head in heads.items()
            if isinstance(head, heads_of_it)
        ]

    @property
    def place(self) -> dict[str, Any]:
        """What W&B calls the place of a workspace or report."""
        return {"entity": self.entity, "project": self.project}


def run_id(directory: Path) -> str:
    """The id of the W&B run that a run's directory holds, the newest where it was resumed.

    Raises:
        UserError: it holds none.
    """
    found = sorted(directory.glob("wandb/*run-*/run-*.wandb"))
    if not found:
        raise UserError(
            f"--run: expected the directory of a run with logger=wandb, found no W&B run in "
            f"{directory}; write a run's directory that has wandb in it"
        )
    return found[-1].stem.removeprefix("run-")


EPOCHS, SECONDS, EXAMPLES = "progress/epoch", "progress/seconds", "progress/examples"
STEPS = "trainer/global_step"
AXES = {EPOCHS: "epochs", SECONDS: "seconds of training", EXAMPLES: "examples", STEPS: "steps"}
COSINE, SMOOTH = {"range_y": (-1, 1)}, {"smoothing_factor": 0.6}
CURVES: dict[str, list[tuple[str, str, str, dict[str, Any]]]] = {
    "Dev scores": [
        ("score", "dev/score", EPOCHS, {}),
        ("score against time", "dev/score", SECONDS, {}),
        ("score against examples", "dev/score", EXAMPLES, {}),
        ("each task's metric", "dev/.+/.+", EPOCHS, {}),
    ],
    "Losses": [
        ("training losses", "train/loss/.+", STEPS,
         SMOOTH | {"smoothing_type": "exponentialTimeWeighted"}),
        ("learning rate", "train/lr", STEPS, {}),
    ],
    "Conflicts": [
        ("share of steps with a conflict", "conflict/share", STEPS, {"range_y": (0, 1)}),
        ("what surgery removes of the sum", "conflict/removed", STEPS, {}),
        ("cosine of two tasks' gradients", "conflict/cosine/.+", STEPS, COSINE),
        ("norm of each task's gradient", "conflict/norm/.+", STEPS, {"log_y": True}),
        ("each task's share of the update", "conflict/update_share/.+", STEPS, {}),
        ("cosine with the plain sum", "conflict/before/.+", STEPS, COSINE),
        ("cosine with the update", "conflict/after/.+", STEPS, COSINE),
        ("cosine in each part of the encoder", "layers/.+/.+", STEPS, COSINE),
    ],
    "Utilisation": [
        ("share of the training set seen", "utilisation/fraction/.+", EPOCHS, {}),
        ("effective epochs", "utilisation/effective_epochs/.+", EPOCHS, {}),
        ("examples seen", "utilisation/examples/.+", EPOCHS, {}),
    ],
    "Time": [
        ("seconds of an epoch", "time/epoch_seconds", EPOCHS, {}),
        ("examples per second", "time/examples_per_second", EPOCHS, {}),
    ],
}  # fmt: skip
"""Section -> its curves: title, metric or a pattern of metrics, x-axis, options of the panel."""

Panels = list[Any]


def curves(section: str) -> Panels:
    """A section's curves as panels."""
    panels = []
    for title, metric, x, options in CURVES[section]:
        which: dict[str, Any] = {"metric_regex": metric} if "+" in metric else {"y": [metric]}
        panels.append(wr.LinePlot(title=title, x=x, title_x=AXES[x], **which, **options))
    return panels


def answers(subject: Subject) -> Panels:
    """Figures of the best epoch's answers, and the worst of them."""
    images = wr.MediaBrowser(title="answers on the dev sets", media_keys=subject.images)
    tables = (f"answers/mistakes/{task}" for task in subject.tasks)
    return [images, *(wr.WeavePanelSummaryTable(table_name=name) for name in tables)]


def choices() -> Panels:
    """The score by λ, B and sampler, and what it costs."""
    score, minutes = wr.SummaryMetric("score"), wr.SummaryMetric("minutes_per_epoch")
    lambda_, b, sampler = wr.Config("lambda"), wr.Config("B"), wr.Config("sampler.name")
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=metric)
        for metric in (sampler, lambda_, b, minutes, score)
    ]
    return [
        wr.ParallelCoordinatesPlot(title="λ × B × sampler", columns=columns),
        wr.ScatterPlot(title="score against minutes per epoch", x=minutes, y=score),
        wr.ScatterPlot(title="score by λ", x=lambda_, y=score),
        wr.ScatterPlot(title="score by B", x=b, y=score),
    ]


def workspace(
    subject: Subject, name: str, sections: Mapping[str, Panels], **runs: Any
) -> ws.Workspace:
    """A workspace of open sections.

    Args:
        subject: the runs that it shows.
        name: its own.
        sections: panels by title.
        runs: how its table of runs is filtered, grouped and ordered.
    """
    columns = [f"config:{name}" for name in ("sampler.value.name", "lambda.value", "B.value")]
    shown = ("score", *subject.scores, "best_epoch", "minutes_per_epoch")
    columns += [f"summary:{name}" for name in shown]
    return ws.Workspace(
        **subject.place,
        name=name,
        sections=[ws.Section(name=n, panels=p, is_open=True) for n, p in sections.items()],
        settings=ws.WorkspaceSettings(x_axis=STEPS),
        runset_settings=ws.RunsetSettings(pinned_columns=columns, **runs),
        auto_generate_panels=False,
    )


def run_workspace(subject: Subject) -> ws.Workspace:
    """Dev scores, losses, conflicts, utilisation, time and answers of a run."""
    return workspace(
        subject,
        f"mtl_bert: run {subject.run}" if subject.run else "mtl_bert: runs",
        {section: curves(section) for section in CURVES} | {"Answers": answers(subject)},
        filters=expr.And(expr.Metric("ID") == subject.run) if subject.run else "",
        order=[expr.Ordering(expr.Metric("CreatedTimestamp"), ascending=False)],
    )


def sweep_workspace(subject: Subject) -> ws.Workspace:
    """Runs of a sweep over λ, B and sampler, repetitions of a setting together."""
    sections = {
        "Choices": choices(),
        "Curves": curves("Dev scores"),
        "Conflicts": curves("Conflicts"),
        "Utilisation and time": [*curves("Utilisation"), *curves("Time")],
    }
    return workspace(
        subject,
        "mtl_bert: sweep over lambda, B and sampler",
        sections,
        groupby=[expr.Metric("Group")],
        order=[expr.Ordering(expr.Summary("score"), ascending=False)],
    )


LEAD = (
    "Scores are those of each run's best epoch on the dev sets; of a run that has not ended, maybe "
    "on samples of them: dev/examples says how large they are. Runs that differ only in the seed "
    "are a group, shown as its mean and standard deviation. Runs tagged synthetic are about "
    "made-up text: none of their numbers is a published one. Which differences are significant, "
    "and what became of the paper's claims, is in the page that mtl-bert report writes."
)
PRINTED = (
    "Of bert-base-uncased on the course's whole data, minutes on one T4; for runs on other data or "
    "with another encoder these are no yardstick. Where the print contradicts itself, see "
    "docs/paper.md."
)


def tables_report(subject: Subject) -> wr.Report:
    """Methods side by side: scores, what they cost, conflicts, mistakes."""
    scores = [  # the best epochs'; runs of a group as their mean and spread
        wr.BarPlot(title=name, metrics=[name], groupby_aggfunc="mean", groupby_rangefunc="stddev")
        for name in ("dev/score", *subject.scores)
    ]
    return wr.Report(
        **subject.place,
        title="mtl_bert: methods side by side",
        description="Scores, time, conflicts and mistakes of this project's runs",
        width="fluid",
        blocks=[
            wr.P(LEAD),
            wr.H2("Scores"),
            _grid(subject, scores, columns=3),
            wr.H2("What the paper prints"),
            wr.P(PRINTED),
            *(wr.MarkdownBlock(text="\n".join(_printed(table))) for table in (2, 3, 4)),
            wr.H2("What they cost"),
            _grid(subject, [*choices(), *curves("Dev scores")]),
            wr.H2("What the tasks do to each other"),
            _grid(subject, curves("Conflicts")),
            wr.H2("What the best epochs answer"),
            _grid(subject, answers(subject), grouped=False),
        ],
    )


def _printed(table: int) -> Iterator[str]:
    """A table of the paper as lines of Markdown."""
    rows = paper.rows(table)
    tasks = [task for task in paper.TITLES if any(task in row.tasks for row in rows)]
    last = ["Dev", "minutes per epoch"] if table != 3 else ["minutes beyond RR's"]
    yield f"| Table {table} | {' | '.join([*(paper.TITLES[task] for task in tasks), *last])} |"
    yield f"|---|{'---:|' * (len(tasks) + len(last))}"
    for row in rows:
        values = [row.tasks.get(task) for task in tasks] + ([row.score] if table != 3 else [])
        cells = [row.label, *map(numbers.metric, values), f"{row.minutes:g}"]
        yield f"| {' | '.join(cells)} |"


def _grid(
    subject: Subject, panels: Panels, *, columns: int = 2, grouped: bool = True
) -> wr.PanelGrid:
    """Panels side by side, in rows of a report's 24 units, over the table of their runs."""
    width, height = 24 // columns, 8
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        panel.layout = wr.Layout(x=column * width, y=row * height, w=width, h=height)
    summary = ("score", *subject.scores, "minutes_per_epoch")
    # Without a project of its own it is the report's; with one, its number is asked for at once.
    runs = wr.Runset(
        name="methods" if grouped else "runs",
        groupby=["group"] if grouped else [],
        order=[wr.OrderBy(wr.SummaryMetric("score"), ascending=False)],
        pinned_columns=[f"summary:{name}" for name in summary],
    )
    return wr.PanelGrid(runsets=[runs], panels=panels)


TIMEOUT = 20  # to wait for the W&B service


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
        entity = wandb.Api(timeout=TIMEOUT).default_entity
    except (wandb.Error, OSError, ValueError) as error:
        raise NoAccountError(f"no W&B service ({_first(error)})") from error
    if not entity:
        raise NoAccountError("the W&B account has no default entity")
    return str(entity)


def create(made: Dashboards) -> list[str]:
    """Create them in W&B, and return their addresses.

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
            "write another --entity or --project, or --out DIR"
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
            f"{error.filename or out}; write another --out DIR"
        ) from error
    return list(paths)


def specification(one: ws.Workspace | wr.Report) -> dict[str, Any]:
    """What W&B is sent; the library has no public name for it."""
    spec: dict[str, Any] = one._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return spec


def _first(error: Exception) -> str:
    """The gist of an error, in a line."""
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
