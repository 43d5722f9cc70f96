"""The table at a run's end: every number whole, however many tasks there are."""

import re

import pytest
from rich.console import Console

from mtl_bert.runs.results import Scores, TaskScore
from mtl_bert.runs.summary import scores_table


@pytest.mark.parametrize("count", [1, 2, 3, 12, 50])
@pytest.mark.parametrize("name", ["t", "a_long_name_of_a_task_"])
def test_every_number_is_there_at_80_columns(count: int, name: str) -> None:
    tasks = {
        f"{name}{number}": TaskScore(
            metric="mcc", value=-number / 1000, n=1_234_567 + number, constant=0.25
        )
        for number in range(count)
    }
    scores = Scores(epoch=1, score=0.5, tasks=tasks)
    columns = dict.fromkeys(("best\nepoch 10", "last\nepoch 10", "random\nbaseline"), scores)
    console = Console(width=80)
    with console.capture() as text:
        console.print(scores_table("dev scores", columns))
    lines = text.get().splitlines()
    assert max(map(len, lines)) <= 80
    for number in range(count):
        row = next(line for line in lines if f"{1_234_567 + number:,}" in line)
        assert re.findall(r"-?\d\.\d{3}", row) == [f"{-number / 1000:.3f}"] * 3 + ["0.250"]
    assert sum("0.500" in line for line in lines) == 1
    assert "…" not in text.get()
