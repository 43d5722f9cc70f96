"""How long the rest of a run will take, by what its parts have taken so far."""

from collections.abc import Mapping
from typing import NamedTuple

HALF_LIFE = (
    120.0  # seconds of work after which a measurement counts half: machines change their pace
)
ENOUGH = 5  # steps that have to be measured before they are something to go by
NEGLIGIBLE = 0.05  # of an estimate


class Left(NamedTuple):
    """Time left.

    Attributes:
        seconds: of the whole run.
        measured: all that matters was measured; otherwise some of it is guessed.
    """

    seconds: float
    measured: bool


class Pace:
    """Examples per second of a kind of step, of late."""

    def __init__(self) -> None:
        self.steps = -1  # the first one makes room and warms up: it says nothing of the others
        self.examples = self.seconds = 0.0

    def add(self, examples: float, seconds: float) -> None:
        """Note a step."""
        self.steps += 1
        if self.steps > 0:
            kept = 0.5 ** (seconds / HALF_LIFE)
            self.examples = self.examples * kept + examples
            self.seconds = self.seconds * kept + seconds


class Remaining:
    """What is ahead of a run, and how fast it gets there.

    Attributes:
        dev_seconds: that each example took in the last scoring of dev sets, or None before any.
        closing: seconds that books and checkpoints took after the last scored epoch.
    """

    def __init__(self) -> None:
        self.dev_seconds: float | None = None
        self.closing = 0.0
        self._examples: dict[str, int] = {}
        self._dev_examples = self._closings = 0
        self._paces: dict[str, Pace] = {}

    def expect(self, examples: Mapping[str, int], dev_examples: int, closings: int = 0) -> None:
        """Take this for what is ahead.

        Args:
            examples: of each phase.
            dev_examples: to score.
            closings: epochs that will be scored, with books and checkpoints to write.
        """
        self._examples, self._dev_examples = dict(examples), dev_examples
        self._closings = closings

    def did(self, phase: str, examples: int, seconds: float) -> None:
        """Note a step."""
        self._examples[phase] = self._examples.get(phase, 0) - examples
        self._paces.setdefault(phase, Pace()).add(examples, seconds)

    def validated(self, examples: int, seconds: float) -> None:
        """Note that so many dev examples were scored."""
        self._dev_examples -= examples
        self.dev_seconds = seconds / examples

    def closed(self, seconds: float) -> None:
        """Note that a scored epoch's books and checkpoints were written."""
        self._closings -= 1
        self.closing = seconds

    def rate(self, phase: str) -> float | None:
        """Examples per second of a phase, or None before there was any."""
        pace = self._paces.get(phase)
        return pace.examples / pace.seconds if pace and pace.seconds else None

    def left(self, validating: float = 0.0, of: int = 0) -> Left | None:
        """Time left, or None while there is nothing to go by.

        A phase that was not measured yet is taken to be as fast as the others.

        Args:
            validating: seconds that a scoring of dev sets has been going on.
            of: examples that it has.
        """
        paces = self._paces.values()
        seconds = sum(pace.seconds for pace in paces)
        if sum(max(0, pace.steps) for pace in paces) < ENOUGH or not seconds:
            return None
        typical = sum(pace.examples for pace in paces) / seconds
        measured = guessed = 0.0
        for phase, examples in self._examples.items():
            own = self.rate(phase)
            if own and self._paces[phase].steps >= ENOUGH:
                measured += examples / own
            else:
                guessed += examples / typical
        if self.dev_seconds is not None:
            done = min(validating, of * self.dev_seconds)
            measured += self._dev_examples * self.dev_seconds - done
        measured += self._closings * self.closing
        total = measured + guessed
        known = self.dev_seconds is not None or self._dev_examples == 0
        return Left(total, known and guessed <= NEGLIGIBLE * total)


def in_words(left: Left | None) -> str:
    """Time left for people; nothing where nothing is known or nothing is left."""
    if left is None or left.seconds <= 0:
        return ""
    if left.seconds < 10:
        return "a few seconds left"
    return f"{'about' if left.measured else 'maybe'} {rounded(left.seconds)} left"


def rounded(seconds: float) -> str:
    """A stretch of time as people say it."""
    if seconds < 95:
        return f"{10 * round(seconds / 10)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
