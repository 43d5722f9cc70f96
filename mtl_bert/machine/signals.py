"""Being asked to stop: by a person (Ctrl-C) or by a scheduler (SIGTERM, Slurm's SIGUSR1)."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75  # sysexits.h calls it EX_TEMPFAIL: run the same command again and it goes on
AT_ONCE = 130  # what shells report for a program that Ctrl-C ended

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have these signals handled so, and afterwards as before."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


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
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the second Ctrl-C stops at once."""
        name = signal.Signals(number).name
        if number == signal.SIGINT and self.signal == name:
            sys.exit(AT_ONCE)
        self.signal = name
