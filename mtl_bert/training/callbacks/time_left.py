"""Estimate how long a run will take, each kind of work at its own recent pace."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

HALF_LIFE = 120.0  # seconds of work after which a measurement counts half: machines change pace
ENOUGH = 5  # steps after the first that a pace is taken from


class TimeLeft(NamedTuple):
    """Time left; 0 while there is nothing to go by."""

    seconds: float
    measured: bool  # every kind's pace was; otherwise some of it is a guess

    def __str__(self) -> str:
        """As h:mm:ss, with a ``~`` before a rough estimate; nothing where nothing is left."""
        if self.seconds < 0.5:
            return ""
        rough = "" if self.measured else "~"
        return f"{rough}{timedelta(seconds=round(self.seconds))} left"


class Schedule:
    """The examples ahead of a run by kind (a phase, or the dev sets), and each kind's pace."""

    def __init__(self, ahead: Mapping[str, int]) -> None:
        self.ahead = Counter(ahead)
        self._steps = Counter[str]()
        # Of each kind of late, without its first step, a warm-up.
        self._examples, self._seconds = dict[str, float](), dict[str, float]()

    def did(self, kind: str, examples: int, seconds: float) -> None:
        """Note a step of a kind of work, or seconds that followed one, without examples."""
        self.ahead[kind] -= examples
        self._steps[kind] += 1
        if self._steps[kind] > 1:
            kept = 0.5 ** (seconds / HALF_LIFE)
            self._examples[kind] = self._examples.get(kind, 0.0) * kept + examples
            self._seconds[kind] = self._seconds.get(kind, 0.0) * kept + seconds

    def rate(self, kind: str) -> float | None:
        """Examples per second of a kind of work, or None before there was any."""
        seconds = self._seconds.get(kind)
        return self._examples[kind] / seconds if seconds else None

    def left(self, ahead: Mapping[str, int] | None = None) -> TimeLeft:
        """The time that so many examples of each kind take, or all that is left of the run.

        A kind of work that was not measured yet is taken to be as fast as the others.
        """
        seconds = sum(self._seconds.values())
        if sum(steps - 1 for steps in self._steps.values()) < ENOUGH or not seconds:
            return TimeLeft(0.0, measured=False)
        typical = sum(self._examples.values()) / seconds
        total, measured = 0.0, True
        for kind, examples in (self.ahead if ahead is None else ahead).items():
            known = self._steps[kind] > ENOUGH
            total += examples / ((self.rate(kind) if known else None) or typical)
            measured &= known or not examples
        return TimeLeft(total, measured)
