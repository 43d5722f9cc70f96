"""The report: the runs' scores as tables, with what they rest on."""

import wandb_workspaces.reports.v2 as wr

from mtl_bert.dashboards import panels
from mtl_bert.dashboards.subject import Subject

LEAD = (
    "Scores are those of each run's best epoch on the dev sets; runs that differ in nothing but "
    "the seed are a group, shown as its mean and standard deviation. Runs tagged synthetic are "
    "about made-up text: none of their numbers is a published one. Whether a difference is real, "
    "and what became of the paper's claims, is in the page that python -m mtl_bert.report writes."
)


def tables_report(subject: Subject) -> wr.Report:
    """Methods side by side: scores, what they cost, conflicts, mistakes."""
    return wr.Report(
        entity=subject.entity,
        project=subject.project,
        title="mtl_bert: methods side by side",
        description="Scores, time, conflicts and mistakes of this project's runs",
        width="fluid",
        blocks=[
            wr.P(LEAD),
            wr.H2("Scores"),
            _grid(subject, panels.bars(subject), columns=3),
            wr.H2("What they cost"),
            _grid(subject, [*panels.choices(), *panels.scores()]),
            wr.H2("What the tasks do to each other"),
            _grid(subject, panels.conflicts()),
            wr.H2("What the best epochs answer"),
            _grid(subject, panels.answers(subject), grouped=False),
        ],
    )


def _grid(
    subject: Subject, shown: panels.Panels, *, columns: int = 2, grouped: bool = True
) -> wr.PanelGrid:
    """Panels over the table of runs that they show."""
    summary = ["score", *subject.scores, "minutes_per_epoch"]
    # Without a project of its own it is the report's; with one, its number is asked for at once.
    runs = wr.Runset(
        name="methods" if grouped else "runs",
        groupby=["group"] if grouped else [],
        order=[wr.OrderBy(panels.SCORE, ascending=False)],
        pinned_columns=[f"summary:{name}" for name in summary],
    )
    return wr.PanelGrid(runsets=[runs], panels=panels.laid_out(shown, columns))
