"""What the displays make of where a run stands."""

import io
import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from mtl_bert.training.callbacks import progress
from mtl_bert.training.callbacks.progress import Bar, Lines, Look, bar_wanted, drawn
from tests.terminal import Screen, on_a_terminal

LOOK = Look(
    title="epoch 2/10",
    phase="finetune",
    done=123,
    total=4567,
    rate=1234.5,
    conflict_share=0.314,
    losses={"first": 1.23456, "second": 0.5},
    left="about 3 h 10 min left",
)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=30)
looks = st.builds(
    Look,
    title=st.just("epoch 100/100"),
    phase=names,
    done=st.integers(0, 10**6),
    total=st.just(10**6),
    rate=st.none() | st.floats(0, 10**6),
    conflict_share=st.none() | st.floats(0, 1),
    losses=st.none() | st.dictionaries(names, st.floats(0, 100), max_size=12),
    left=st.sampled_from(["", "about 3 h 10 min left"]),
)


def lines(look: Look, width: int) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="256", record=True
    )
    console.print(drawn(look, width))
    return [line.rstrip() for line in console.export_text().splitlines()]


def numbers(below: list[str]) -> list[str]:
    return [number for line in below for number in line.strip().split("  ")]


@given(looks, st.integers(20, 200))
def test_nothing_goes_beyond_the_width(look: Look, width: int) -> None:
    assert all(cell_len(line) <= width for line in lines(look, width))


def test_80_columns_hold_what_there_is() -> None:
    first, *below = lines(LOOK, 80)
    assert first.startswith("epoch 2/10  finetune  ╸━")
    assert first.endswith("━  123/4567  about 3 h 10 min left")
    assert first.count("━") > 10
    assert numbers(below) == [
        "1,234 examples/s", "conflicts in 31% of joint steps", "first loss 1.235",
        "second loss 0.500",
    ]  # fmt: skip


def test_losses_of_many_tasks_take_more_lines_and_are_not_torn() -> None:
    losses = {f"task{number}": number / 10 for number in range(12)}
    _, *below = lines(Look("epoch 1/1", "joint", 1, 2, losses=losses), 80)
    assert len(below) == 3
    assert numbers(below) == [f"{task} loss {loss:.3f}" for task, loss in losses.items()]


def test_what_is_not_known_is_not_shown() -> None:
    assert len(lines(Look("untrained model", "dev sets", 0, 7), 80)) == 1


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = 1000.0

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    return forward


def test_a_log_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = clock(monkeypatch)
    shown = Lines()
    with caplog.at_level(logging.INFO):
        for _ in range(400):
            forward(1.0)
            if shown.due():
                shown.show(LOOK)
    assert caplog.messages == 6 * [
        "epoch 2/10  finetune 123/4567  1,234 examples/s  conflicts in 31% of joint steps  "
        "first loss 1.235  second loss 0.500  about 3 h 10 min left"
    ]


def test_a_bar_is_drawn_at_once_and_then_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, times = clock(monkeypatch), []
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = Bar()
    for tenth in range(21):
        if bar.due():
            bar.show(LOOK)
            times.append(tenth)
        forward(0.1000001)
    bar.close()
    assert times == [0, 5, 10, 15, 20]


@pytest.mark.parametrize("bar", [True, False])
def test_what_is_asked_for_is_wanted(bar: bool) -> None:
    assert bar_wanted(bar) is bar


def messages_while_a_bar_is_shown() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    before = sys.stdout, sys.stderr
    assert bar_wanted(None)
    bar = Bar()
    logging.info("before")
    for _ in range(3):
        bar.show(LOOK)
    logging.warning("a warning [red]in[/red] the middle of it :smile:")
    bar.show(LOOK)
    print("printed")
    print("an error", file=sys.stderr)
    bar.show(LOOK)
    bar.close()
    logging.info("after")
    assert before == (sys.stdout, sys.stderr)
    bar.show(LOOK)
    raise SystemExit(3)  # and nobody closes it


def test_messages_stand_above_the_bar_whole() -> None:
    code, written = on_a_terminal(messages_while_a_bar_is_shown)
    assert code == 3, written
    screen = Screen(80)
    screen.write(written)
    *said, first, second, third = screen.text().splitlines()
    assert said == [
        "before",
        "a warning [red]in[/red] the middle of it :smile:",
        "printed",
        "an error",
        "after",
    ]
    assert [first, second, third] == lines(LOOK, 80)
    # A process that is killed leaves the cursor visible.
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
