"""Whoever watches a run sees where it stands, also after a stop."""

import logging
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.encoded import Encoded
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import ARRP
from mtl_bert.training import run as running
from mtl_bert.training.callbacks.progress import Bar, Lines, ahead
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.step_log import StepLog
from mtl_bert.utils.logging import plain_messages
from tests.composing import settings_of
from tests.factories import TINY, make_table, random_texts
from tests.forking import in_a_fork
from tests.terminal import Screen, on_a_terminal
from tests.training.test_interruption import RUN, at_step, send

WATCHED = [override for override in RUN if not override.startswith("trainer.enable_progress_bar")]


def always(*_: Any) -> bool:
    return True


def views(written: str, width: int = 80) -> list[str]:
    """All screens that a person has seen: one before each time that something is drawn over."""
    screen, seen = Screen(width), []
    for frame in re.split(r"(?=\r\x1b\[2K)", written):
        screen.write(frame)
        seen.append(screen.text())
    return seen


def watched(directory: Path, *overrides: str, width: int = 80) -> tuple[int, str]:
    """A run on a terminal, with a look at every step."""

    def work() -> None:
        plain_messages()
        Bar.due = always  # type: ignore[method-assign]
        running.run(settings_of(*WATCHED, *overrides), directory)

    return on_a_terminal(work, width)


def places(seen: list[str]) -> list[tuple[str, str, int, int]]:
    """Epoch, phase, done and total of each look, without repeats."""
    found = [
        (match[1], match[2], int(match[3]), int(match[4]))
        for view in seen
        for match in re.finditer(r"^(\S+ \S+)  (\S.*?)  [━╸╺ ]*  (\d+)/(\d+)", view, re.MULTILINE)
    ]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    code, written = watched(tmp_path_factory.mktemp("watched") / "run")
    assert code == 0, written
    return written


def test_a_person_sees_every_step_of_the_plan(run: str) -> None:
    joint = [("rr", number) for number in range(5)]
    alone = [("finetune", number) for number in range(5, 8)]
    dev = [("untrained model", "dev sets", number, 2) for number in range(2)]
    seen = places(views(run))
    assert seen[:2] == dev
    for epoch in ("epoch 1/2", "epoch 2/2"):
        found = [
            (phase, done) for title, phase, done, total in seen if title == epoch and total > 2
        ]
        assert found == joint + alone
        assert (epoch, "dev sets", 0, 2) in seen


def test_a_person_sees_phase_losses_rate_and_time_left(run: str) -> None:
    seen = views(run)
    assert any(
        re.search(
            r"^epoch 2/2  finetune  ━.* [67]/8  (a few seconds|about \d+ s) left\n"
            r"  [\d,]+ examples/s  conflicts in \d+% of joint steps  sst loss \d\.\d{3}\n"
            r"  sts loss \d+\.\d{3}$",
            view,
            re.MULTILINE,
        )
        for view in seen
    ), seen[-20]


def test_nothing_is_said_before_there_is_something_to_go_by(run: str) -> None:
    first = [view for view in views(run) if re.search(r"^epoch 1/2  rr .* [0-4]/8", view, re.M)]
    assert len(first) >= 5
    assert not [view for view in first if " left" in view]


def test_whole_dev_sets_at_the_end_are_seen_too(tmp_path: Path) -> None:
    code, written = watched(tmp_path / "run", "trainer.dev_sample=5", "trainer.eval_batch_size=6")
    assert code == 0, written
    seen = [place for place in places(views(written)) if place[0] == "final scores"]
    assert seen[:4] == [("final scores", "dev sets", number, 4) for number in range(4)]


def test_full_bars_and_tables_stay_and_nothing_else(run: str) -> None:
    text = views(run)[-1]
    assert "examples/s" not in text
    assert "dev sets  ━" not in text
    assert len(re.findall(r"^epoch [12]/2  ━+  8/8$", text, re.MULTILINE)) == 2
    rows = re.findall(r"^sst +accuracy +0\.\d{3} +([+-]\S+)? +\d\.\d{3} +\d+ +(\S+)$", text, re.M)
    assert [bool(change) for change, _ in rows] == [False, True]
    assert float(rows[1][1]) == pytest.approx(2 * float(rows[0][1]), abs=0.02)
    assert "best so far" in text
    assert text.count("(synthetic text)") >= 2


@pytest.mark.parametrize("stopped", [3, 6, 7])
def test_what_was_done_before_a_stop_counts(tmp_path: Path, stopped: int) -> None:
    directory = tmp_path / "run"

    def work() -> None:
        at_step(stopped - 1, send(signal.SIGTERM))()  # the next step sees it
        running.run(settings_of(*RUN), directory)

    assert in_a_fork(work) == EXIT_CODE
    code, written = watched(directory)
    assert code == 0, written
    seen = [place for place in places(views(written)) if place[0] == "epoch 1/2" and place[3] > 2]
    assert [done for _, _, done, _ in seen] == list(range(stopped, 8))
    assert {total for *_, total in seen} == {8}
    assert len(re.findall(r"^epoch [12]/2  ━+  8/8$", views(written)[-1], re.MULTILINE)) == 2


def test_a_stop_leaves_the_terminal_to_its_message(tmp_path: Path) -> None:
    def work() -> None:
        plain_messages()
        at_step(4, send(signal.SIGTERM))()
        running.run(settings_of(*WATCHED), tmp_path / "run")

    code, written = on_a_terminal(work)
    assert code == EXIT_CODE
    last = views(written)[-1]
    assert "━" not in last
    assert re.search(r"^stopped by SIGTERM after 5 steps of epoch 1; write", last, re.MULTILINE)


def test_what_is_logged_meanwhile_stands_above_the_bar(tmp_path: Path) -> None:
    def work() -> None:
        plain_messages()
        Bar.due = always  # type: ignore[method-assign]
        at_step(4, lambda *_: logging.getLogger("mtl_bert").warning("this was strange"))()
        running.run(settings_of(*WATCHED), tmp_path / "run")

    code, written = on_a_terminal(work, 60)
    assert code == 0, written
    assert "\nthis was strange\n" in views(written, 60)[-1]


def test_a_log_has_plain_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Lines, "due", always)
    with caplog.at_level(logging.INFO):
        running.run(settings_of(*WATCHED), tmp_path / "run")
    said = [message for message in caplog.messages if re.match(r"(epoch \d|untrained)", message)]
    where = [re.match(r"\S+ \S+  (rr|finetune|dev sets|score) ?(\S+)", line) for line in said]
    steps = [f"{n}/8" for n in range(8)]
    assert [match[2] for match in where if match and match[1] in ("rr", "finetune")] == 2 * steps
    assert [match[2] for match in where if match and match[1] == "dev sets"] == 3 * ["0/2", "1/2"]
    assert len([match for match in where if match and match[1] == "score"]) == 2
    assert re.search(
        r"examples/s  conflicts in \d+% of joint steps  sst loss \d\.\d{3}  sts loss .* left$",
        said[-5],
    )
    assert not re.search(r"[━\r\x1b]", "".join(caplog.messages) + capsys.readouterr().err)
    kept = (tmp_path / "run" / "train.log").read_text("utf-8")
    assert all(line in kept for line in said)


def test_losses_are_read_for_a_look_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each reading waits for it."""
    real: Any = StepLog.losses
    readers: list[str] = []

    def losses(step_log: StepLog) -> Any:
        readers.append(sys._getframe(1).f_code.co_name)
        return real.fget(step_log)

    monkeypatch.setattr(StepLog, "losses", property(losses))
    running.run(settings_of(*WATCHED, "trainer.log_every_n_steps=1000"), tmp_path / "run")
    assert readers == ["_record", "_record"]


TRAIN: dict[str, Encoded] = {
    task: Tokenize(TINY.tokenizer(), 12)(
        make_table(random_texts(TINY.tokenizer(), size, 1, longest=5), [0.0] * size)
    )
    for task, size in {"first": 50, "second": 21}.items()
}


@given(
    st.integers(1, 4),
    st.integers(0, 30),
    st.integers(1, 3),
    st.sampled_from([None, 4]),
    st.sampled_from([None, 30, 50]),
)
def test_what_is_ahead_is_the_plan_less_what_is_done(
    epoch: int, step: int, every: int, bucket: int | None, sample: int | None
) -> None:
    types = dict.fromkeys(TRAIN, torch.float32)
    sampler = ARRP(batch_size=4, B=13)
    datamodule = PlanDataModule(
        sampler, TRAIN, TRAIN, types, 0, epochs=4, seed=1, group_by_length=bucket, dev_sample=sample
    )
    datamodule.start = Position(epoch, min(step, len(datamodule.plan(epoch).steps)))
    rest = [
        (each.phase.name, each.examples)
        for number in range(epoch, 5)
        for place, each in enumerate(datamodule.plan(number).steps)
        if number > epoch or place >= datamodule.start.step
    ]
    expected = Counter[str]()
    for phase, examples in rest:
        expected[phase] += examples
    found, dev, closings = ahead(datamodule, epochs=4, validate_every=every)
    assert {phase: n for phase, n in found.items() if n} == dict(expected)
    scored = sum(n in {*range(every, 5, every), 4} for n in range(epoch, 5))
    # A sample of 30 has all 21 of the smaller; at the end the best and the last see all 71.
    assert closings == scored
    assert dev == (scored * 51 + 2 * 71 if sample == 30 else scored * 71)
    assert datamodule.total_steps == sum(len(datamodule.plan(n).steps) for n in range(1, 5))
