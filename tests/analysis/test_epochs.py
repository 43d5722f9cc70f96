"""An epoch in a line and as a table."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mtl_bert.runs.results import EpochRecord, PhaseRecord, Scores, TaskScore, Utilisation
from mtl_bert.training.callbacks.progress import Summary, line, table


def scores(first: float, second: float) -> Scores:
    return Scores(
        epoch=3,
        score=(first + second) / 2,
        tasks={
            "first": TaskScore(metric="accuracy", value=first, n=100),
            "second": TaskScore(metric="pearson", value=second, n=50),
        },
    )


def record(reached: Scores | None, *, synthetic: bool = False) -> EpochRecord:
    return EpochRecord(
        epoch=4,
        score=None if reached is None else reached.score,
        tasks=None if reached is None else reached.tasks,
        synthetic=synthetic,
        seconds=15.5,
        validation_seconds=0 if reached is None else 2.25,
        phases=[
            PhaseRecord(name="joint", steps=10, examples=160, seconds=12.34),
            PhaseRecord(name="alone", steps=5, examples=2000, seconds=3.16),
        ],
        losses={"first": 0.5, "second": 1.25},
        utilisation={
            "first": Utilisation(examples=2080, unique=2000, fraction=0.2),
            "second": Utilisation(examples=80, unique=80, fraction=1.0),
        },
    )


FULL = Summary(
    record=record(scores(0.75, 0.25), synthetic=True),
    epochs=10,
    before=scores(0.5, 0.375),
    best=True,
    passes={"first": 0.832, "second": 4.0},
    conflict_share=0.314,
    left="about 3 min left",
)
BARE = Summary(record(None), 10, None, False, {"first": 0.832, "second": 4.0}, None, "")


def seen(summary: Summary, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table(summary))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_line_says_it_all() -> None:
    assert line(FULL) == (
        "epoch 4/10  score 0.500  first accuracy 0.750  second pearson 0.250  best so far  "
        "joint 12.3 s, alone 3.2 s, dev sets 2.2 s  conflicts in 31% of joint steps  "
        "about 3 min left  (synthetic text)"
    )


def test_a_line_of_an_epoch_that_was_not_scored() -> None:
    assert line(BARE) == (
        "epoch 4/10  not scored  first loss 0.500  second loss 1.250  joint 12.3 s, alone 3.2 s"
    )


def test_a_table_has_all_of_it() -> None:
    lines = [text.split() for text in seen(FULL)]
    assert lines[0] == [
        "task",
        "dev",
        "metric",
        "change",
        "loss",
        "examples",
        "epochs",
        "so",
        "far",
    ]
    assert ["first", "accuracy", "0.750", "+0.250", "0.500", "2,080", "0.83"] in lines
    assert ["second", "pearson", "0.250", "-0.125", "1.250", "80", "4.00"] in lines
    assert ["score", "0.500", "+0.062"] in lines
    below = " ".join(" ".join(seen(FULL)[-2:]).split())
    for part in ("best so far", "joint 12.3 s, alone 3.2 s, dev sets 2.2 s", "31% of joint"):
        assert part in below
    assert below.endswith("about 3 min left (synthetic text)")


def test_a_table_of_an_epoch_that_was_not_scored() -> None:
    lines = [text.split() for text in seen(BARE)]
    assert ["first", "not", "scored", "0.500", "2,080", "0.83"] in lines
    assert all(words[:1] != ["score"] for words in lines)
    assert lines[-1] == ["joint", "12.3", "s,", "alone", "3.2", "s"]


def test_the_first_scores_have_not_changed() -> None:
    lines = [text.split() for text in seen(replace(FULL, before=None))]
    assert ["first", "accuracy", "0.750", "0.500", "2,080", "0.83"] in lines


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_keeps_to_the_width(width: int) -> None:
    assert max(map(len, seen(FULL, width))) <= width
