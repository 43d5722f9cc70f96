"""Whoever watches a run sees where it stands: on a terminal, in a notebook, in a log."""

import io
import logging
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.runs.results import EpochRecord, PhaseRecord, Scores, TaskScore, Utilisation
from mtl_bert.training import run as running
from mtl_bert.training.callbacks import progress
from mtl_bert.training.callbacks.progress import (
    Bars,
    EpochSummary,
    LogLines,
    NotebookBars,
    Stage,
    drawn,
)
from mtl_bert.training.meters import EpochSums
from mtl_bert.utils.logging import bar_wanted, plain_messages
from tests.composing import settings_of
from tests.forking import in_a_fork
from tests.terminal import Screen, on_a_terminal
from tests.training.test_interruption import RUN, at_step, send

WATCHED = [override for override in RUN if not override.startswith("trainer.enable_progress_bar")]
STAGES = [
    Stage("epoch 2/10  finetune", 123, 4567, "0:10:00 left"),
    Stage("whole run", 1123, 45670, "~3:10:00 left"),
]
NUMBERS = ["1,234 examples/s", "conflicts in 31% of joint steps", "first loss 1.235"]

# What is drawn.


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, record=True)
    console.print(shown)
    return [line.rstrip() for line in console.export_text().splitlines()]


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=30)


@settings(max_examples=30, deadline=None)
@given(names, st.lists(names, max_size=12), st.integers(20, 200))
def test_nothing_goes_beyond_the_width(title: str, numbers: list[str], width: int) -> None:
    shown = drawn([Stage(title, 5, 10**6, "3:10:00 left"), STAGES[1]], numbers)
    assert all(cell_len(line) <= width for line in lines(shown, width))


def test_80_columns_hold_what_there_is() -> None:
    first, second, numbers = lines(drawn(STAGES, NUMBERS))
    assert re.fullmatch(r"epoch 2/10  finetune  ╸━{10,}  123/4567    0:10:00 left", first)
    assert re.fullmatch(r"whole run             ━*[╺╸]?━*  1123/45670  ~3:10:00 left", second)
    assert numbers.split("  ") == NUMBERS


def test_losses_of_many_tasks_take_more_lines_and_are_not_torn() -> None:
    losses = [f"task{number} loss 0.{number:02}0" for number in range(12)]
    _, *below = lines(drawn(STAGES[:1], losses))
    assert len(below) == 3
    assert [loss for line in below for loss in re.split("  +", line)] == losses


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


FULL = EpochSummary(
    record=record(scores(0.75, 0.25), synthetic=True),
    epochs=10,
    before=scores(0.5, 0.375),
    best=True,
    passes={"first": 0.832, "second": 4.0},
    conflict_share=0.314,
    left="0:03:00 left",
)
BARE = EpochSummary(record(None), 10, None, False, {"first": 0.832, "second": 4.0}, None, "")


def test_a_line_about_fifty_tasks_stays_one() -> None:
    tasks = {f"t{number}": scores(0.5, 0.5).tasks["first"] for number in range(50)}
    line = replace(FULL, record=record(Scores(epoch=4, score=0.5, tasks=tasks))).line()
    assert re.findall(r"t\d+ accuracy", line) == [f"t{number} accuracy" for number in range(8)]
    assert "  and 42 tasks more  best so far  " in line


def test_an_epoch_in_a_line() -> None:
    assert FULL.line() == (
        "epoch 4/10  score 0.500  first accuracy 0.750  second pearson 0.250  best so far  "
        "joint 12.3 s, alone 3.2 s, dev sets 2.2 s  conflicts in 31% of joint steps  "
        "0:03:00 left  (synthetic text)"
    )
    assert BARE.line() == (
        "epoch 4/10  not scored  first loss 0.500  second loss 1.250  joint 12.3 s, alone 3.2 s"
    )


def test_an_epoch_as_a_table() -> None:
    shown = lines(FULL.table())
    rows = [line.split() for line in shown]
    assert rows[0] == ["epoch", "4/10"]
    assert ["first", "accuracy", "0.750", "+0.250", "0.500", "2,080", "0.83"] in rows
    assert ["second", "pearson", "0.250", "-0.125", "1.250", "80", "4.00"] in rows
    assert ["score", "0.500", "+0.062"] in rows
    below = " ".join(" ".join(shown[-2:]).split())
    assert below.startswith(
        "best so far joint 12.3 s, alone 3.2 s, dev sets 2.2 s conflicts in 31%"
    )
    assert below.endswith("0:03:00 left (synthetic text)")
    first = [line.split() for line in lines(replace(FULL, before=None).table())]
    assert ["first", "accuracy", "0.750", "0.500", "2,080", "0.83"] in first  # no change yet
    bare = [line.split() for line in lines(BARE.table())]
    assert ["first", "not", "scored", "0.500", "2,080", "0.83"] in bare
    assert all(words[:1] != ["score"] for words in bare)
    for width in (40, 60, 200):
        assert max(map(len, lines(FULL.table(), width))) <= width


# Where it is drawn.


@pytest.mark.parametrize("bar", [True, False])
def test_what_is_asked_for_is_wanted(bar: bool) -> None:
    assert bar_wanted(bar) is bar


def messages_while_bars_are_shown() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    before = sys.stdout, sys.stderr
    assert bar_wanted(None)
    bars = Bars()
    logging.info("before")
    for _ in range(3):
        bars.show(STAGES, NUMBERS)
    logging.warning("a warning [red]in[/red] the middle of it :smile:")
    bars.show(STAGES, NUMBERS)
    print("printed")
    print("an error", file=sys.stderr)
    bars.close()
    logging.info("after")
    assert before == (sys.stdout, sys.stderr)
    bars.show(STAGES, NUMBERS)
    raise SystemExit(3)  # and nobody closes it


def test_messages_stand_above_the_bars_whole() -> None:
    code, written = on_a_terminal(messages_while_bars_are_shown)
    assert code == 3, written
    screen = Screen(80)
    screen.write(written)
    assert screen.text().splitlines() == [
        "before",
        "a warning [red]in[/red] the middle of it :smile:",
        "printed",
        "an error",
        "after",
        *lines(drawn(STAGES, NUMBERS)),
    ]
    # A process that is killed leaves the cursor visible.
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_a_notebook_s_cell_is_drawn_over_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[RenderableType] = []
    ipython: Any = ModuleType("IPython.display")

    def display(view: RenderableType, display_id: bool) -> SimpleNamespace:
        assert display_id
        shown.append(view)
        return SimpleNamespace(update=lambda other: shown.__setitem__(-1, other))

    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bars = NotebookBars()
    bars.show(STAGES[:1], [])
    bars.show(STAGES, NUMBERS)
    assert len(shown) == 1
    view = shown[0]
    assert lines(view) == lines(drawn(STAGES, NUMBERS))
    html = view._repr_mimebundle_([], [])["text/html"]  # type: ignore[union-attr]
    assert "conflicts in 31% of joint steps" in html
    bars.close()
    assert not "".join(lines(shown[0])).strip()


# A whole run.


def views(written: str, width: int = 80) -> list[str]:
    """All screens that a person has seen: one before each time that something is drawn over."""
    screen, seen = Screen(width), []
    for frame in re.split(r"(?=\r\x1b\[2K)", written):
        screen.write(frame)
        seen.append(screen.text())
    return seen


def watched(
    directory: Path, *overrides: str, width: int = 80, hook: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """A run on a terminal, shown at every step."""
    chosen = settings_of(*WATCHED, *overrides)

    def work() -> None:
        plain_messages()
        Bars.every = 0.0
        hook()
        running.run(chosen, directory)

    return on_a_terminal(work, width)


def places(seen: list[str]) -> list[tuple[str, str, int, int]]:
    """Epoch, phase, done and total of each look, without repeats."""
    bar = re.compile(r"^(\S+ \S+)  (\S.*?)  +[━╸╺]+  (\d+)/(\d+)", re.MULTILINE)
    found = [(m[1], m[2], int(m[3]), int(m[4])) for view in seen for m in bar.finditer(view)]
    return list(dict.fromkeys(found))


def whole_run(seen: list[str]) -> list[int]:
    """Steps of the whole run that were said to be done, without repeats."""
    bar = re.compile(r"^whole run +[━╸╺]+  (\d+)/16\b", re.MULTILINE)
    return list(dict.fromkeys(int(m[1]) for view in seen for m in bar.finditer(view)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    code, written = watched(tmp_path_factory.mktemp("watched") / "run")
    assert code == 0, written
    return written


def test_a_person_sees_every_step_of_the_plan(run: str) -> None:
    seen = places(views(run))
    phases = {"rr": 5, "finetune": 3, "dev sets": 2}
    assert seen == [
        (title, phase, number, phases[phase])
        for title, shown in [
            ("untrained model", ["dev sets"]),
            ("epoch 1/2", phases),
            ("epoch 2/2", phases),
        ]
        for phase in shown
        for number in range(phases[phase])
    ]
    assert whole_run(views(run)) == list(range(17))


def test_phases_that_take_turns_are_counted_each(tmp_path: Path) -> None:
    turns = "sampler=tiers", "sampler.growth=1", "sampler.interleave=true", "epochs=1"
    code, written = watched(tmp_path / "run", *turns)
    assert code == 0, written
    seen = [place[1:] for place in places(views(written)) if place[0] == "epoch 1/1"]
    trained = [place for place in seen if place[0] != "dev sets"]
    for phase in ("rr", "finetune"):
        done = [(number, total) for name, number, total in trained if name == phase]
        assert done == [(number, done[0][1]) for number in range(done[0][1])]
    turns_taken = sum(a != b for a, b in pairwise(name for name, *_ in trained))
    assert turns_taken > 1


def test_a_person_sees_losses_rate_and_conflicts(run: str) -> None:
    below = [view.splitlines()[-2:] for view in views(run) if "finetune  ━" in view]
    assert re.fullmatch(
        r"[\d,]+ examples/s {2,}conflicts in \d+% of joint steps {2,}sst loss \d\.\d{3}"
        r"( {2,}sts loss \d+\.\d{3})?",
        next(line for view in below for line in view if "examples/s" in line),
    )


def test_tables_of_the_epochs_stay_and_nothing_else(run: str) -> None:
    text = views(run)[-1]
    assert "examples/s" not in text
    assert "whole run" not in text
    assert re.findall(r"^epoch ([12])/2$", text, re.MULTILINE) == ["1", "2"]
    rows = re.findall(r"^sst +accuracy +0\.\d{3} +([+-]\S+)? +\d\.\d{3} +\d+ +(\S+)$", text, re.M)
    assert [bool(change) for change, _ in rows] == [False, True]
    assert float(rows[1][1]) == pytest.approx(2 * float(rows[0][1]), abs=0.02)
    assert "best so far" in text
    assert text.count("(synthetic text)") >= 2


def test_whole_dev_sets_at_the_end_are_seen_too(tmp_path: Path) -> None:
    code, written = watched(tmp_path / "run", "trainer.dev_sample=5", "trainer.eval_batch_size=6")
    assert code == 0, written
    seen = [place for place in places(views(written)) if place[0] == "final scores"]
    assert seen[:4] == [("final scores", "dev sets", number, 4) for number in range(4)]


@pytest.mark.parametrize("stopped", [3, 6])
def test_what_was_done_before_a_stop_counts(tmp_path: Path, stopped: int) -> None:
    directory = tmp_path / "run"

    def work() -> None:
        at_step(stopped - 1, send(signal.SIGTERM))()  # the next step sees it
        running.run(settings_of(*RUN), directory)

    assert in_a_fork(work) == EXIT_CODE
    code, written = watched(directory)
    assert code == 0, written
    first = [(phase, done) for title, phase, done, _ in places(views(written)) if "1/2" in title]
    plan = [("rr", n) for n in range(5)] + [("finetune", n) for n in range(3)]
    assert first == [*plan[stopped:], ("dev sets", 0), ("dev sets", 1)]
    assert whole_run(views(written)) == list(range(stopped, 17))


def test_a_stop_leaves_the_terminal_to_its_message(tmp_path: Path) -> None:
    code, written = watched(tmp_path / "run", hook=at_step(4, send(signal.SIGTERM)))
    assert code == EXIT_CODE
    last = views(written)[-1]
    assert "━" not in last
    assert re.search(r"^stopped by SIGTERM after 5 steps of epoch 1; write resume=", last, re.M)


def test_what_is_logged_meanwhile_stands_above_the_bars(tmp_path: Path) -> None:
    strange = at_step(4, lambda *_: logging.getLogger("mtl_bert").warning("this was strange"))
    code, written = watched(tmp_path / "run", width=60, hook=strange)
    assert code == 0, written
    assert "\nthis was strange\n" in views(written, 60)[-1]


def test_a_log_has_plain_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(LogLines, "every", 0.0)
    with caplog.at_level(logging.INFO):
        running.run(settings_of(*WATCHED), tmp_path / "run")
    said = [message for message in caplog.messages if re.match(r"(epoch \d|untrained)", message)]
    where = [re.match(r"\S+ \S+  (rr|finetune|dev sets|score) (\S+)", line) for line in said]
    found = [(match[1], match[2]) for match in where if match]
    steps = [*(("rr", f"{n}/5") for n in range(5)), *(("finetune", f"{n}/3") for n in range(3))]
    assert [(phase, n) for phase, n in found if phase in ("rr", "finetune")] == 2 * steps
    assert [n for phase, n in found if phase == "dev sets"] == 3 * ["0/2", "1/2"]
    assert len([phase for phase, _ in found if phase == "score"]) == 2
    assert re.search(
        r"  whole run 15/16  .*examples/s  conflicts in \d+% of joint steps  sst loss \d\.\d{3}  s",
        "\n".join(said),
    )
    assert not re.search(r"[━\r\x1b]", "".join(caplog.messages) + capsys.readouterr().err)
    kept = (tmp_path / "run" / "train.log").read_text("utf-8")
    assert all(line in kept for line in said)


def test_a_log_gets_a_line_a_minute_and_losses_are_read_for_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a GPU each reading waits for it."""
    now, real = 0.0, EpochSums.losses
    readers: list[str] = []

    def later() -> float:
        nonlocal now
        now += 7.0
        return now

    def losses(sums: EpochSums) -> Any:
        readers.append(sys._getframe(1).f_code.co_name)
        return real(sums)

    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=later))
    monkeypatch.setattr(EpochSums, "losses", losses)
    with caplog.at_level(logging.INFO):
        running.run(settings_of(*WATCHED, "trainer.log_every_n_steps=1000"), tmp_path / "run")
    shown = [message for message in caplog.messages if "whole run" in message]
    assert len(shown) == readers.count("_show")
    assert now / 60 / 2 < len(shown) + 1 <= now / 60 + 1
    assert readers.count("_record") == 2
