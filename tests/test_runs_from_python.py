"""Runs from Python are those of the command line."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from mtl_bert import UserError, plan, train
from tests.cli.driving import SMALL, results_in, train_here, tree

SIZES = {"sts": 6040, "sst": 8544, "qqp": 283010}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_in_a_directory_of_ones_own_or_below_runs_and_gone_on_with() -> None:
    expected = train_here(Path("expected"), "B=8", "epochs=2")
    chosen = train(*SMALL, "B=8", out="a b").path
    assert chosen == Path("a b").absolute()
    assert train(f"resume='{chosen}'", "epochs=2").path == chosen
    assert results_in(chosen).epochs[1].losses == expected.epochs[1].losses
    found = train(*SMALL, "sampler=random").path
    assert found.relative_to(Path.cwd()).parts[0] == "runs"
    assert "-random-seed1-" in found.name
    assert results_in(found).config["sampler"]["name"] == "random"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("smapler=rr", "smapler: expected a known setting, found smapler; did you mean sampler?"),
        ("sampler=nope", "sampler: expected one of annealed, arrp"),
        ("lambda=-1", "lambda: expected a number ≥ 0 or null"),
        ("resume=gone", "resume: expected the directory of a run, found no config.yaml in gone"),
        ("sampler=full sampler.order=[sst]", "sampler.order: expected each of sst, sts once"),
    ],
)
def test_what_is_wrong_is_raised(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        train(*SMALL, *words.split())
    assert str(refused.value).startswith(message)
    assert tree(tmp_path) == []


def test_a_plan_is_a_table_steps_and_text() -> None:
    shown = plan("sampler=rr", "epochs=2", "batch_size=8", sizes=SIZES)
    table = shown.table()
    assert list(table["epoch"]) == [1, 1, 1, 2, 2, 2]
    assert set(table["steps"]) == {755}
    first = table[table["epoch"] == 1].set_index("task")
    assert first["unique"].to_dict() == dict.fromkeys(SIZES, 6040)
    assert first["share"].to_dict() == {task: 6040 / size for task, size in SIZES.items()}
    assert [len(epoch.steps) for epoch in shown] == [755, 755]
    shown.write(Path("steps.jsonl"))
    lines = [json.loads(line) for line in Path("steps.jsonl").read_text("utf-8").splitlines()]
    assert lines[755]["rows"]["sst"] == shown.epoch(2).steps[0].rows["sst"].tolist()
    assert "70.7" in str(shown)


def test_a_plan_of_sizes_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"plan\.sizes: expected whole numbers ≥ 1 for"):
        plan(sizes={"sst": 0})


def rows(count: int, seed: int) -> list[dict[str, object]]:
    draw = random.Random(seed)
    words = ["good", "bad", "fine", "dull"]
    return [
        {"text": " ".join(draw.choices(words, k=5)), "label": draw.randrange(5)}
        for _ in range(count)
    ]


FORMS: dict[str, Callable[[list[dict[str, object]]], Any]] = {
    "dicts": list,
    "pandas": pd.DataFrame,
    "datasets": lambda given: datasets.Dataset.from_list(given),
}


def test_data_may_come_from_python_in_any_form() -> None:
    """The same rows are the same run; it is opened again, and refuses other rows."""
    few = [w for w in SMALL if w.startswith(("epochs", "batch_size", "trainer"))]
    few += ["task=[sst]", "sampler=rr", "model=tiny"]
    runs = {
        name: train(*few, out=name, data={"sst": (form(rows(40, 1)), form(rows(15, 2)))})
        for name, form in FORMS.items()
    }
    losses = [run.results.epochs[0].losses for run in runs.values()]
    assert losses[0] == losses[1] == losses[2]
    assert runs["dicts"].results.data.sizes == {"sst": {"train": 40, "dev": 15}}
    assert runs["dicts"].results.data.name == "files"
    given = (rows(40, 1), rows(15, 2))
    again = train(*few, out="dicts", data={"sst": given})
    assert again.results.finished == runs["dicts"].results.finished
    with pytest.raises(UserError, match=r"data: expected the examples with which the run in"):
        train(*few, out="dicts", data={"sst": given[::-1]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"nli": ([], [])}, r"data: expected tasks of sst, found 'nli'; write task=\[nli\]"),
        ({"sst": ([{"txt": "a"}], [])}, "data: expected the columns text and label for sst, found"),
        ({"sst": [[{"text": "a", "label": 9}]] * 2}, "jsonl: 1 of 1 rows|expected rows for task"),
    ],
)
def test_data_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, data: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train("task=[sst]", "sampler=random", "trainer.accelerator=cpu", out="x", data=data)
    assert tree(tmp_path) == []
