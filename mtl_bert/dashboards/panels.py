"""The panels: which metrics stand together, against what. Names are those of docs/metrics.md.

Panels of a metric of every task find them by a pattern, so that they fit any tasks.
"""

from typing import Any

import wandb_workspaces.reports.v2 as wr

from mtl_bert.dashboards.subject import Subject

EPOCHS, SECONDS, EXAMPLES = "progress/epoch", "progress/seconds", "progress/examples"
STEPS = "trainer/global_step"
SCORE, MINUTES = wr.SummaryMetric("score"), wr.SummaryMetric("minutes_per_epoch")
LAMBDA, B, SAMPLER = wr.Config("lambda"), wr.Config("B"), wr.Config("sampler.name")
_TITLES = {EPOCHS: "epochs", SECONDS: "seconds of training", EXAMPLES: "examples", STEPS: "steps"}

Panels = list[Any]


def curve(title: str, *names: str, x: str = STEPS, **how: Any) -> wr.LinePlot:
    """Metrics by name."""
    return wr.LinePlot(title=title, x=x, y=list(names), title_x=_TITLES[x], **how)


def curves(title: str, pattern: str, *, x: str = STEPS, **how: Any) -> wr.LinePlot:
    """All metrics whose names are like a pattern."""
    return wr.LinePlot(title=title, x=x, metric_regex=pattern, title_x=_TITLES[x], **how)


def scores() -> Panels:
    """Dev scores against what they cost."""
    return [
        curve("score", "dev/score", x=EPOCHS),
        curve("score against time", "dev/score", x=SECONDS),
        curve("score against examples", "dev/score", x=EXAMPLES),
        curves("each task's metric", "dev/.+/.+", x=EPOCHS),
    ]


def losses() -> Panels:
    """Training losses."""
    return [
        curves("training losses", "train/loss/.+", smoothing_factor=0.6,
               smoothing_type="exponentialTimeWeighted"),
        curve("learning rate", "train/lr"),
    ]  # fmt: skip


def conflicts() -> Panels:
    """What the tasks do to each other."""
    return [
        curve("share of steps with a conflict", "conflict/share", range_y=(0, 1)),
        curve("what surgery removes of the sum", "conflict/removed"),
        curves("cosine of two tasks' gradients", "conflict/cosine/.+", range_y=(-1, 1)),
        curves("norm of each task's gradient", "conflict/norm/.+", log_y=True),
        curves("each task's share of the update", "conflict/update_share/.+"),
        curves("cosine with the plain sum", "conflict/before/.+", range_y=(-1, 1)),
        curves("cosine with the update", "conflict/after/.+", range_y=(-1, 1)),
        curves("cosine in each part of the encoder", "layers/.+/.+", range_y=(-1, 1)),
    ]


def utilisation() -> Panels:
    """How much of the training sets is used."""
    return [
        curves("share of the training set seen", "utilisation/fraction/.+", x=EPOCHS),
        curves("effective epochs", "utilisation/effective_epochs/.+", x=EPOCHS),
        curves("examples seen", "utilisation/examples/.+", x=EPOCHS),
    ]


def time() -> Panels:
    """What epochs take."""
    return [
        curve("seconds of an epoch", "time/epoch_seconds", x=EPOCHS),
        curve("examples per second", "time/examples_per_second", x=EPOCHS),
    ]


def answers(subject: Subject) -> Panels:
    """Figures of the best epoch's answers, and the worst of them."""
    images = wr.MediaBrowser(title="answers on the dev sets", media_keys=subject.images)
    return [images, *(wr.WeavePanelSummaryTable(table_name=name) for name in subject.mistakes)]


def choices() -> Panels:
    """The score by λ, B and sampler, and what it costs."""
    columns = (SAMPLER, LAMBDA, B, MINUTES, SCORE)
    return [
        wr.ParallelCoordinatesPlot(
            title="λ × B × sampler",
            columns=[wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns],
        ),
        wr.ScatterPlot(title="score against minutes per epoch", x=MINUTES, y=SCORE),
        wr.ScatterPlot(title="score by λ", x=LAMBDA, y=SCORE),
        wr.ScatterPlot(title="score by B", x=B, y=SCORE),
    ]


def bars(subject: Subject) -> Panels:
    """The best epochs' scores, runs of a group as their mean and spread."""
    return [
        wr.BarPlot(title=name, metrics=[name], groupby_aggfunc="mean", groupby_rangefunc="stddev")
        for name in ("dev/score", *subject.scores)
    ]


def laid_out(panels: Panels, columns: int = 2) -> Panels:
    """The panels side by side, in rows of a report's 24 units."""
    width, height = 24 // columns, 8
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        panel.layout = wr.Layout(x=column * width, y=row * height, w=width, h=height)
    return panels
