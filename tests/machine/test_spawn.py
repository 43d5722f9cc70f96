"""Several processes from one: what becomes of all when something becomes of one."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from mtl_bert.machine import processes
from mtl_bert.machine.signals import EXIT_CODE, Handler, StopRequest
from mtl_bert.utils.errors import UserError


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of this process, which need not import everything again."""
    real = processes.start_processes
    monkeypatch.setattr(
        processes, "start_processes", lambda *a, **k: real(*a, **k | {"start_method": "fork"})
    )


def of_rank(**work: Callable[[], object]) -> Callable[[], None]:
    """Have the first process do one thing, and the second another."""
    return lambda: (work["first"], work["second"])[int(os.environ["RANK"])]() and None


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


def signalled(monkeypatch: pytest.MonkeyPatch, number: int, after: float) -> None:
    """Send a signal to this process so many seconds after it began to listen."""
    real = processes.handled

    @contextmanager
    def handled(handler: Handler) -> Iterator[None]:
        with real(handler):
            time.sleep(after)
            kill(number)
            yield

    monkeypatch.setattr(processes, "handled", handled)


def refuse() -> None:
    raise UserError("x: expected this, found that; write this")


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, r"SIGKILL \(out of memory\?\)"), (signal.SIGALRM, "SIGALRM")],
)
def test_the_one_that_was_killed_is_named(number: int, told: str) -> None:
    work = of_rank(first=partial(time.sleep, 60), second=partial(kill, number))
    with pytest.raises(UserError, match=f"process 1 killed by {told}; write resume=x to go on$"):
        processes.spawn(work, 2, "write resume=x to go on")


def test_what_one_refuses_is_told_and_ends_the_other() -> None:
    with pytest.raises(UserError, match="x: expected this, found that"):
        processes.spawn(of_rank(first=partial(time.sleep, 60), second=refuse), 2)


def test_a_signal_reaches_who_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has ended: nothing is sent to it, and nothing raised."""

    def listen() -> None:
        stop = StopRequest()
        with stop.listening():
            while not stop:
                time.sleep(0.05)
        raise SystemExit(EXIT_CODE)

    signalled(monkeypatch, signal.SIGUSR1, after=0.5)
    with pytest.raises(SystemExit) as end:
        processes.spawn(of_rank(first=lambda: None, second=listen), 2)
    assert end.value.code == EXIT_CODE


def test_a_signal_before_anybody_listens_asks_to_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleep = partial(time.sleep, 60)
    signalled(monkeypatch, signal.SIGTERM, after=0)
    with pytest.raises(SystemExit) as end:
        processes.spawn(of_rank(first=sleep, second=sleep), 2)
    assert end.value.code == EXIT_CODE
