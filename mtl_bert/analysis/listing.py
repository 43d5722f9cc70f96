"""The list of all runs, also those that no other table shows."""

from collections.abc import Mapping
from pathlib import Path

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Cell, Column, Table
from mtl_bert.analysis.methods import method_of
from mtl_bert.analysis.studies import Study


def runs_table(study: Study, marks: Mapping[Path, str], addresses: Mapping[Path, str]) -> Table:
    """Every run of a study, also those that no other table shows.

    Args:
        study: the runs.
        marks: a run's directory -> why it stands in no other table.
        addresses: a run's directory -> its page, where runs have any.
    """
    cells, records = [], []
    members = [(run, group.label) for group in study.groups for run in group.runs]
    members += [(run, method_of(run).label) for run in study.superseded]
    for run, label in members:
        results = run.results
        tasks = [numbers.metric(results.tasks[task].value) for task in study.tasks]
        texts = [
            run.name, label, str(results.seed), str(run.config["epochs"]), str(results.best_epoch),
            *tasks, numbers.metric(results.score), numbers.metric(results.last.score),
            numbers.minutes(results.minutes_per_epoch), results.device,
            (results.commit or "unknown")[:12], marks.get(run.directory, ""),
        ]  # fmt: skip
        first, *rest = texts
        cells.append(
            (Cell(first, link=addresses.get(run.directory, "")), *(Cell(text) for text in rest))
        )
        records.append(
            {
                "run": run.name, "method": label, "seed": results.seed,
                "epochs": run.config["epochs"], "best_epoch": results.best_epoch,
                **{task: results.tasks[task].value for task in study.tasks},
                "score": results.score, "last_score": results.last.score,
                "minutes_per_epoch": results.minutes_per_epoch, "device": results.device,
                "commit": results.commit, "remark": marks.get(run.directory, ""),
                "subject": study.subject.words,
            }
        )  # fmt: skip
    words = {"run", "method", "device", "commit", "remark"}
    headings = (
        "run", "method", "seed", "epochs", "best epoch", *study.tasks, "score",
        "last epoch's score", "min/epoch", "device", "commit", "remark",
    )  # fmt: skip
    lead = "Each run's name leads to its page. " if addresses else ""
    return Table(
        name=f"{study.slug}-runs",
        heading="All runs",
        subject=study.subject,
        columns=tuple(Column(heading, numeric=heading not in words) for heading in headings),
        rows=tuple(cells),
        caption=(f"{lead}Scores are the best epoch's; the last epoch's score stands beside them."),
        records=tuple(records),
        folded=True,
    )
