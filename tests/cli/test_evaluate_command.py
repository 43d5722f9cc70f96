"""``mtl-bert evaluate``: a finished run gives its numbers again."""

import shutil
from pathlib import Path

import pytest

from mtl_bert.runs.results import Scores
from tests.cli.driving import SMALL, Command, results_in, tree


def test_the_best_checkpoint(command: Command, trained: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    ended = command("evaluate", str(trained))
    assert ended.code == 0, ended.err
    assert "the numbers are the recorded ones" in ended.out
    results = results_in(trained)
    now, recorded = _columns(ended.out)
    assert now == _shown(results) == recorded
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert not [path for path in tree(tmp_path) if not path.startswith(".")]


def test_the_last_checkpoint(command: Command, trained: Path) -> None:
    outcome = command("evaluate", str(trained), "--checkpoint", "last")
    assert outcome.code == 0
    assert "the numbers are the recorded ones" in outcome.out
    assert _columns(outcome.out)[0] == _shown(results_in(trained).last)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_run_that_scored_samples_amid_training(
    command: Command, tmp_path: Path, checkpoint: str
) -> None:
    chosen = [*SMALL, "sampler=rr", "epochs=2", "trainer.dev_sample=5", "hydra.run.dir=run"]
    assert command("train", *chosen).code == 0
    results = results_in(tmp_path / "run")
    assert results.dev_sample == 5
    outcome = command("evaluate", "run", "--checkpoint", checkpoint)
    assert "the numbers are the recorded ones" in outcome.out
    scores = results if checkpoint == "best" else results.last
    assert _columns(outcome.out)[0] == _shown(scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN: expected the folder of a finished run, found nothing; write mtl-bert"),
        (["gone"], "RUN: expected the folder of a finished run, found no results.json"),
        (["{trained}", "--checkpoint", "first"], "--checkpoint: expected best or last, found 'fi"),
        (["{trained}", "--data-dir", "x"], "--data-dir: expected no value, as the run's data"),
        (["{trained}", "seed=2"], "mtl-bert evaluate: expected no more arguments, found seed=2"),
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


def test_a_run_that_was_stopped_is_told_from_none(command: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 1\n")
    outcome = command("evaluate", "run")
    assert outcome.code == 2
    assert outcome.err == (
        "RUN: expected the folder of a finished run, found one that has not ended in run; "
        "write mtl-bert train resume=run\n"
    )


def test_made_up_text_is_called_so(command: Command, trained: Path) -> None:
    assert "(synthetic text)" in command("evaluate", str(trained)).out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("results.json", "results.json: expected the results of a run, found something else"),
        ("checkpoints/best.ckpt", "best.ckpt: expected a checkpoint of this run, found one that"),
        (
            "missing",
            "best.ckpt: expected a checkpoint of this run, found none; write --checkpoint last",
        ),
    ],
)
def test_a_damaged_run_is_an_error_of_one_line(
    command: Command, trained: Path, tmp_path: Path, damage: str, message: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    if damage == "missing":
        (run / "checkpoints/best.ckpt").unlink()
    else:
        whole = (run / damage).read_bytes()
        (run / damage).write_bytes(whole[: len(whole) // 2])
    outcome = command("evaluate", str(run))
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_files_may_be_named_from_anywhere_and_may_move(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was given relative paths is scored from another directory, and after a move."""
    home, elsewhere = tmp_path / "a home", tmp_path / "elsewhere"
    (home / "data").mkdir(parents=True)
    elsewhere.mkdir()
    for split in ("train", "dev"):
        rows = "".join(f"{n}\tx{n}\tA film number {n}.\t{n % 5}\n" for n in range(20))
        text = f"\tid\tsentence\tsentiment\n{rows}"
        (home / "data" / f"ids-sst-{split}.csv").write_text(text, "utf-8")
    monkeypatch.chdir(home)
    overrides = ["data=cs224n", "data.dir=data", "task=[sst]", "sampler=rr", "epochs=1"]
    assert (
        command("train", *overrides, "hydra.run.dir=run", "trainer.enable_progress_bar=false").code
        == 0
    )
    monkeypatch.chdir(elsewhere)
    assert "are the recorded ones" in command("evaluate", f"{home}/run").out
    (home / "data").rename(elsewhere / "moved")
    assert "write --data-dir DIR" in command("evaluate", f"{home}/run").err
    moved = command("evaluate", f"{home}/run", "--data-dir", "moved")
    assert "are the recorded ones" in moved.out


def _columns(printed: str) -> list[list[str]]:
    """The table's columns of numbers: those of now, and those that were recorded."""
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in printed.splitlines()]
    rows = [row[3:5] for row in cells if len(row) == 6]
    return [list(column) for column in zip(*rows, strict=True)]


def _shown(scores: Scores) -> list[str]:
    values = [task.value for task in scores.tasks.values()]
    return [f"{value:.3f}" for value in (*values, scores.score)]
