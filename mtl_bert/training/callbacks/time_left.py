"""Estimate how long a run will take, each kind of work at its own recent pace."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from mtl_bert.training.datamodule import PlanDataModule, is_scored

DEV_SETS = "dev sets"
HALF_LIFE = 120.0  # seconds of work after which a measurement counts half: machines change pace
ENOUGH = 5  # steps after the first that a pace is taken from
NEGLIGIBLE = 0.05  # share of an estimate


class TimeLeft(NamedTuple):
    """Time left."""

    seconds: float  # the estimate; 0 while there is nothing to go by
    measured: bool  # every pace that matters was; otherwise some of it is a guess

    def __str__(self) -> str:
        """As h:mm:ss, with a ``~`` before a rough estimate; nothing where nothing is left."""
        if self.seconds < 0.5:
            return ""
        rough = "" if self.measured else "~"
        return f"{rough}{timedelta(seconds=round(self.seconds))} left"


@dataclass
class Pace:
    """Examples and seconds of a kind of step, of late; the first step, a warm-up, left out."""

    steps: int = -1
    examples: float = 0.0
    seconds: float = 0.0

    def add(self, examples: float, seconds: float) -> None:
        """Note a step."""
        self.steps += 1
        if self.steps > 0:
            kept = 0.5 ** (seconds / HALF_LIFE)
            self.examples = self.examples * kept + examples
            self.seconds = self.seconds * kept + seconds


class Schedule:
    """The work ahead of a run by kind (a phase, or the dev sets), and the pace of each kind.

    Args:
        ahead: examples of each kind.
    """

    def __init__(self, ahead: Mapping[str, int]) -> None:
        self.ahead = Counter(ahead)
        self._paces = defaultdict[str, Pace](Pace)

    def did(self, kind: str, examples: int, seconds: float) -> None:
        """Note a step of a kind of work, or seconds that followed one, without examples."""
        self.ahead[kind] -= examples
        self._paces[kind].add(examples, seconds)

    def rate(self, kind: str) -> float | None:
        """Examples per second of a kind of work, or None before there was any."""
        pace = self._paces.get(kind)
        return pace.examples / pace.seconds if pace and pace.seconds else None

    def left(self, ahead: Mapping[str, int] | None = None) -> TimeLeft:
        """The time that work takes.

        A kind of work that was not measured yet is taken to be as fast as the others.

        Args:
            ahead: examples of each kind; None for all that is left of the run.
        """
        paces = self._paces.values()
        seconds = sum(pace.seconds for pace in paces)
        if sum(max(0, pace.steps) for pace in paces) < ENOUGH or not seconds:
            return TimeLeft(0.0, measured=False)
        typical = sum(pace.examples for pace in paces) / seconds
        total = guessed = 0.0
        for kind, examples in (self.ahead if ahead is None else ahead).items():
            known = kind in self._paces and self._paces[kind].steps >= ENOUGH
            takes = examples / ((self.rate(kind) if known else None) or typical)
            total += takes
            guessed += 0.0 if known else takes
        return TimeLeft(total, guessed <= NEGLIGIBLE * total)


def work_ahead(datamodule: PlanDataModule, epochs: int, validate_every: int) -> Counter[str]:
    """Examples of each phase, and of the dev sets, between where a run begins and its end.

    Where samples choose the best epoch, the whole dev sets are scored at the end, for the best
    epoch and for the last. These may be one: then they are scored once less.
    """
    start, ahead = datamodule.start, Counter[str]()
    for epoch in range(start.epoch, epochs + 1):
        ahead.update(datamodule.examples(epoch))
        if is_scored(epoch, validate_every, epochs):
            ahead[DEV_SETS] += sum(datamodule.sample_sizes.values())
    for step in datamodule.plan(start.epoch).steps[: start.step]:
        ahead[step.phase.name] -= step.examples
    if datamodule.samples:
        ahead[DEV_SETS] += 2 * sum(datamodule.dev_sizes.values())
    return ahead
