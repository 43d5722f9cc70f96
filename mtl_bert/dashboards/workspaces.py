"""The two workspaces: what one run does, and which choices of a sweep are worth their time."""

import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from mtl_bert.dashboards import panels
from mtl_bert.dashboards.subject import Subject


def run_workspace(subject: Subject) -> ws.Workspace:
    """Losses, dev scores, conflicts, utilisation, time and answers of a run."""
    only = expr.And(expr.Metric("ID") == subject.run) if subject.run else ""
    return ws.Workspace(
        entity=subject.entity,
        project=subject.project,
        name=f"mtl_bert: run {subject.run}" if subject.run else "mtl_bert: runs",
        sections=[
            _section("Dev scores", panels.scores()),
            _section("Losses", panels.losses()),
            _section("Conflicts", panels.conflicts()),
            _section("Utilisation", panels.utilisation()),
            _section("Time", panels.time()),
            _section("Answers", panels.answers(subject)),
        ],
        settings=ws.WorkspaceSettings(x_axis=panels.STEPS),
        runset_settings=ws.RunsetSettings(
            filters=only, pinned_columns=_columns(subject), order=[_NEWEST]
        ),
        auto_generate_panels=False,
    )


def sweep_workspace(subject: Subject) -> ws.Workspace:
    """Runs of a sweep over λ, B and sampler, repetitions of a setting together."""
    return ws.Workspace(
        entity=subject.entity,
        project=subject.project,
        name="mtl_bert: sweep over lambda, B and sampler",
        sections=[
            _section("Choices", panels.choices()),
            _section("Curves", panels.scores()),
            _section("Conflicts", panels.conflicts()),
            _section("Utilisation and time", [*panels.utilisation(), *panels.time()]),
        ],
        settings=ws.WorkspaceSettings(x_axis=panels.STEPS),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Metric("Group")], pinned_columns=_columns(subject), order=[_BEST]
        ),
        auto_generate_panels=False,
    )


_NEWEST = expr.Ordering(expr.Metric("CreatedTimestamp"), ascending=False)
_BEST = expr.Ordering(expr.Summary("score"), ascending=False)


def _section(name: str, shown: panels.Panels) -> ws.Section:
    return ws.Section(name=name, panels=shown, is_open=True)


def _columns(subject: Subject) -> list[str]:
    config = [f"config:{name}" for name in ("sampler.value.name", "lambda.value", "B.value")]
    summary = ["score", *subject.scores, "best_epoch", "minutes_per_epoch"]
    return [*config, *(f"summary:{name}" for name in summary)]
