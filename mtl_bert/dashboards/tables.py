"""The report: the runs' scores as tables, with what they rest on."""

from collections.abc import Iterator

import wandb_workspaces.reports.v2 as wr

from mtl_bert.dashboards import panels
from mtl_bert.dashboards.subject import Subject
from mtl_bert.reporting import numbers, paper

LEAD = (
    "Scores are those of each run's best epoch on the dev sets (of a run that has not ended, maybe "
    "on samples of them: dev/examples says how large they are); runs that differ in nothing but "
    "the seed are a group, shown as its mean and standard deviation. Runs tagged synthetic are "
    "about made-up text: none of their numbers is a published one. Whether a difference is real, "
    "and what became of the paper's claims, is in the page that python -m mtl_bert.report writes."
)


PRINTED = (
    "Of bert-base-uncased on the course's whole data, minutes on one T4; for runs on other data or "
    "with another encoder these are no yardstick. Where the print contradicts itself, see "
    "docs/paper.md."
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
            wr.H2("What the paper prints"),
            wr.P(PRINTED),
            *(wr.MarkdownBlock(text="\n".join(_printed(table))) for table in (2, 3, 4)),
            wr.H2("What they cost"),
            _grid(subject, [*panels.choices(), *panels.scores()]),
            wr.H2("What the tasks do to each other"),
            _grid(subject, panels.conflicts()),
            wr.H2("What the best epochs answer"),
            _grid(subject, panels.answers(subject), grouped=False),
        ],
    )


def _printed(table: int) -> Iterator[str]:
    """A table of the paper as lines of Markdown."""
    rows = paper.rows(table)
    tasks = [task for task in paper.TITLES if any(task in row.tasks for row in rows)]
    heads = [f"Table {table}", *(paper.TITLES[task] for task in tasks)]
    heads += ["Dev", "minutes per epoch"] if table != 3 else ["minutes beyond RR's"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    for row in rows:
        cells = [row.label, *(numbers.metric(row.tasks.get(task)) for task in tasks)]
        cells += [numbers.metric(row.score)] if table != 3 else []
        yield f"| {' | '.join([*cells, f'{row.minutes:g}'])} |"


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
