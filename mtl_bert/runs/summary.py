"""A finished run as a small table on the terminal."""

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from mtl_bert.runs.results import Results, Scores
from mtl_bert.utils.screen import Screen


def print_summary(results: Results, directory: Path) -> None:
    """Print each task's dev metric, the score, the random baseline and where the run lies."""
    sampler = results.config["sampler"]["name"]
    rows: dict[str, Results | Scores] = {}
    if results.epochs:
        rows[f"{sampler}, best epoch ({results.best_epoch})"] = results
        rows[f"{sampler}, last epoch ({results.last_epoch})"] = results.last
    if results.untrained is not None:
        rows["random baseline (untrained)"] = results.untrained
    console = Screen()
    console.print(scores_table(title_of(results), rows, results))
    if results.epochs:
        console.print(f"{results.minutes_per_epoch:.2f} minutes per epoch on {results.device}")
    for note in results.notes:
        console.print(note)
    # Paths are for copying: never wrapped, never coloured.
    console.print(f"run written to {directory}", soft_wrap=True)


def title_of(results: Results) -> str:
    """What the scores of a run were measured on; made-up text is always called so."""
    synthetic = " (synthetic text)" if results.data.synthetic else ""
    return f"dev scores, data={results.data.name}{synthetic}, seed {results.seed}"


def scores_table(
    title: str, rows: Mapping[str, Results | Scores], columns: Results | Scores
) -> Table:
    """One column per task and one for the score; one row per evaluation."""
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name, task in columns.tasks.items():
        table.add_column(f"{name}\n{task.metric}\nn={task.n:,}", justify="right")
    table.add_column("score", justify="right")
    for label, scores in rows.items():
        values = [f"{task.value:.3f}" for task in scores.tasks.values()]
        table.add_row(label, *values, f"{scores.score:.3f}")
    return table
