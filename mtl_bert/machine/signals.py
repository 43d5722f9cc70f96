"""Being asked to stop: by a person (Ctrl-C, a closed terminal), a scheduler (SIGTERM, SIGUSR1)."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_CODE = 75  # sysexits.h calls it EX_TEMPFAIL: run the same command again and it goes on
AT_ONCE = 130  # what shells report for a program that Ctrl-C ended

_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, *(() if _nohup else (signal.SIGHUP,)))

Handler = Callable[[int, FrameType | None], object]


def handle(handler: Handler) -> dict[int, Any]:
    """Have these signals handled so; returns how they were handled before."""

    def at_signal(number: int, frame: FrameType | None) -> None:
        for stream in (1, 2) if number == signal.SIGHUP else ():
            try:
                os.write(stream, b"")
            except OSError:  # every write to a terminal that is gone fails: it goes nowhere now
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        handler(number, frame)

    return {number: signal.signal(number, at_signal) for number in SIGNALS}


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Have these signals handled so, and afterwards as before."""
    before = handle(handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def how_killed(number: int) -> str:
    """How a process ended that a signal ended, in words."""
    name = signal.Signals(number).name
    return f"killed by {name}{' (out of memory?)' if number == signal.SIGKILL else ''}"


class Interrupted(BaseException):
    """A run that stopped because it was asked to: nothing went wrong, and nothing may catch it."""


class StopRequest:
    """Whether somebody asked this process to stop, and how."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self._listening = False

    def __bool__(self) -> bool:
        """Whether somebody did."""
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn signals into a request."""
        with handled(self._receive):
            self._listening = True
            try:
                yield
            finally:
                self._listening = False

    def listen_again(self) -> None:
        """Take the signals back from whoever took them (Lightning does, in every stage)."""
        if self._listening:
            handle(self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the second Ctrl-C stops at once."""
        name = signal.Signals(number).name
        if number == signal.SIGINT and self.signal == name:
            sys.exit(AT_ONCE)
        self.signal = name
