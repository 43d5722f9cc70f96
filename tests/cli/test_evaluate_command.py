"""``python -m mtl_bert.evaluate``: a finished run gives its numbers again."""

from pathlib import Path

import pytest

from mtl_bert.reporting.results import Scores
from tests.cli.driving import Command, program, results_in, tree


def test_the_best_checkpoint_from_outside(trained: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    ended = program("evaluate", f"run={trained}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "the numbers are the recorded ones" in ended.stdout
    results = results_in(trained)
    rows = _rows(ended.stdout)
    assert rows["best checkpoint, now"] == _shown(results) == rows["as recorded"]
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert not [path for path in tree(tmp_path) if not path.startswith(".")]


def test_the_last_checkpoint(command: Command, trained: Path) -> None:
    outcome = command("evaluate", f"run={trained}", "checkpoint=last")
    assert outcome.code == 0
    assert "the numbers are the recorded ones" in outcome.out
    assert _rows(outcome.out)["last checkpoint, now"] == _shown(results_in(trained).last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: expected the directory of a finished run, found nothing; write run=DIR"),
        (["run=gone"], "run: expected the directory of a finished run, found no results.json"),
        (["run={trained}", "checkpoint=first"], "checkpoint: expected best or last, found 'first'"),
        (["run={trained}", "seed=2"], "seed"),
    ],
)
def test_what_cannot_be_evaluated(
    command: Command, trained: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    outcome = command("evaluate", *(text.format(trained=trained) for text in arguments))
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith(message)
    assert len(outcome.err.splitlines()) == 1
    assert tree(tmp_path) == []


def _rows(printed: str) -> dict[str, list[str]]:
    """The table's rows: label -> numbers as shown."""
    cells = [[c.strip() for c in line.strip("│ ").split("│")] for line in printed.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) == 4}


def _shown(scores: Scores) -> list[str]:
    values = [task.value for task in scores.tasks.values()]
    return [f"{value:.3f}" for value in (*values, scores.score)]
