"""What a person sees while a run trains: a bar and tables on a terminal, lines in a log."""

import logging
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl_bert.reporting import epochs
from mtl_bert.reporting.epochs import Summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """Where a run stands at a moment.

    Attributes:
        title: the epoch.
        phase: what is going on in it.
        done: steps of the epoch, or batches of the dev sets; those before a stop included.
        total: as many as there are.
        rate: examples per second of the phase, or None before anything was measured.
        conflict_share: of the epoch's joint steps so far, or None before there was any.
        losses: each task's mean over the epoch so far.
        left: how long the whole run will take, in words; empty where unknown.
    """

    title: str
    phase: str
    done: int
    total: int
    rate: float | None = None
    conflict_share: float | None = None
    losses: Mapping[str, float] | None = None
    left: str = ""

    def numbers(self) -> list[str]:
        """What was measured, in words."""
        rate = [] if self.rate is None else [f"{self.rate:,.0f} examples/s"]
        share = self.conflict_share
        conflicts = [] if share is None else [f"conflicts in {share:.0%} of joint steps"]
        losses = [f"{task} loss {loss:.3f}" for task, loss in (self.losses or {}).items()]
        return [*rate, *conflicts, *losses]


class Display(Protocol):
    """Shows a run to somebody."""

    def due(self) -> bool:
        """Whether it is time to look again."""

    def show(self, look: Look) -> None:
        """Say where the run stands."""

    def sum_up(self, summary: Summary) -> None:
        """Say what an epoch reached."""

    def close(self) -> None:
        """Leave things as they were."""


class Bar:
    """A bar per epoch, drawn in place on the terminal; at the epoch's end a table under it."""

    every = 0.5  # seconds between two looks

    def __init__(self) -> None:
        self._console = Console(
            stderr=True, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._live: Live | None = None
        self._shown = 0.0

    def due(self) -> bool:
        """At once where there is no bar yet."""
        return self._live is None or time.monotonic() - self._shown >= self.every

    def show(self, look: Look) -> None:
        """Draw the bar, and below it the numbers on as many lines as they need."""
        if self._live is None:
            self._live = self._opened()
        self._live.update(drawn(look, self._console.width), refresh=True)
        self._shown = time.monotonic()

    def sum_up(self, summary: Summary) -> None:
        """Leave a full bar and the table behind."""
        self.close()
        steps = sum(phase.steps for phase in summary.record.phases)
        self._console.print(_bar(Look(summary.title, "", steps, steps)), epochs.table(summary))

    def close(self) -> None:
        """Take the bar away."""
        if self._live is not None:
            proxy = sys.stderr
            self._live.stop()
            _redirect_messages(proxy, sys.stderr)
            self._live = None

    def _opened(self) -> Live:
        """The part of the terminal that is drawn again and again; messages go above it."""
        stderr = sys.stderr
        live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        live.start()
        self._console.show_cursor(True)  # a kill would leave the terminal without one
        _redirect_messages(stderr, sys.stderr)
        return live


class Lines:
    """A line now and then and one after each epoch, in the log."""

    every = 60.0  # seconds between two looks

    def __init__(self) -> None:
        self._said = time.monotonic()

    def due(self) -> bool:
        """Once in a while."""
        return time.monotonic() - self._said >= self.every

    def show(self, look: Look) -> None:
        """Log where the run stands."""
        where = f"{look.title}  {look.phase} {look.done}/{look.total}"
        self._say("  ".join([where, *look.numbers(), *filter(None, [look.left])]))

    def sum_up(self, summary: Summary) -> None:
        """Log what the epoch reached."""
        self._say(epochs.line(summary))

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self._said = time.monotonic()


def bar_wanted(bar: bool | None) -> bool:
    """What ``trainer.bar`` says, None being: where stderr is a terminal."""
    return sys.stderr.isatty() if bar is None else bar


def drawn(look: Look, width: int) -> RenderableType:
    """A bar with its numbers below, none of them broken between two lines unless it has to be."""
    whole = "  ".join(number.replace(" ", "\N{NO-BREAK SPACE}") for number in look.numbers())
    lines = textwrap.wrap(
        whole, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )
    below = [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
    return Group(_bar(look), *(Text(line, no_wrap=True, overflow="ellipsis") for line in below))


def _bar(look: Look) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True, pad_edge=False)
    parts = [f"{look.title}  {look.phase}".rstrip(), f"{look.done}/{look.total}", look.left]
    shown: list[RenderableType] = [Text(part) for part in parts if part]
    shown.insert(1, ProgressBar(total=look.total, completed=look.done))
    for part in shown:
        grid.add_column(ratio=1 if isinstance(part, ProgressBar) else None, no_wrap=True)
    grid.add_row(*shown)
    return grid


def _redirect_messages(old: TextIO, new: TextIO) -> None:
    """Have loggers write to another stream, whose messages do not run into the bar."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)
