"""A finished run as a small table on the terminal."""

import math
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from mtl_bert.runs.results import Results, Scores
from mtl_bert.utils.screen import Screen


def print_summary(results: Results, directory: Path) -> None:
    """Print each task's dev metric, the score, what they are held against, and where the run is."""
    columns: dict[str, Results | Scores] = {}
    if results.epochs:
        columns[f"best\nepoch {results.best_epoch}"] = results
        columns[f"last\nepoch {results.last_epoch}"] = results.last
    if results.untrained is not None:
        columns["random\nbaseline"] = results.untrained
    console = Screen()
    console.print(scores_table(title_of(results), columns))
    for name, sets in results.more.items():
        for called, of in sets.items():
            values = ", ".join(f"{metric} {value:.3f}" for metric, value in of.all.items())
            console.print(f"{name} {called}, {of.n:,} examples: {values}")
    if results.epochs:
        console.print(f"{results.minutes_per_epoch:.2f} minutes per epoch on {results.device}")
    for note in results.notes:
        console.print(note)
    # Paths are for copying: never wrapped, never coloured.
    console.print(f"run written to {directory}", soft_wrap=True)


def title_of(results: Results) -> str:
    """What the scores of a run were measured on; made-up text is always called so."""
    synthetic = " (synthetic text)" if results.data.synthetic else ""
    sampler = results.config["sampler"]["name"]
    return f"dev scores of {sampler}, data={results.data.name}{synthetic}, seed {results.seed}"


def scores_table(title: str, columns: Mapping[str, Results | Scores]) -> Table:
    """A row for each task and one for the score, a column for each evaluation.

    A table of any number of tasks is as narrow: where there is little room, long names are folded,
    and numbers never.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("task", overflow="fold", min_width=8)
    table.add_column("metric", overflow="fold")
    for heading in ("n", *columns):
        table.add_column(heading, justify="right", min_width=6)
    first, *_ = columns.values()
    if with_constant := any(task.constant is not None for task in first.tasks.values()):
        table.add_column("one answer\nfor all", justify="right", min_width=6)
    for name, task in first.tasks.items():
        for metric in task.all:
            values = [
                f"{scores.tasks[name].all.get(metric, math.nan):.3f}" for scores in columns.values()
            ]
            if with_constant and metric == task.metric and task.constant is not None:
                values.append(f"{task.constant:.3f}")
            table.add_row(name, metric, f"{task.n:,}", *values)
    table.add_section()
    table.add_row("score", "", "", *(f"{scores.score:.3f}" for scores in columns.values()))
    return table
