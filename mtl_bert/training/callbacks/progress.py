"""What a person sees while a run trains: a bar and tables on a terminal, lines in a log."""

import logging
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TextIO

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import EpochRecord, Scores
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.datamodule import PlanDataModule, datamodule_of, is_scored
from mtl_bert.training.module import MultiTaskModule

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


@dataclass(frozen=True)
class Summary:
    """What there is to say after an epoch.

    Attributes:
        record: the epoch's.
        epochs: of the whole run.
        before: the scores before it, if there are any.
        best: whether no epoch was better so far.
        passes: of each task, over the run so far: examples / size of the training set.
        conflict_share: of its joint steps, or None where there were none.
        left: how long the run will take, in words; empty where unknown.
    """

    record: EpochRecord
    epochs: int
    before: Scores | None
    best: bool
    passes: Mapping[str, float]
    conflict_share: float | None
    left: str

    @property
    def title(self) -> str:
        """Which epoch it is."""
        return f"epoch {self.record.epoch}/{self.epochs}"


def line(summary: Summary) -> str:
    """The epoch in a line: scores, or losses where the dev sets were not scored."""
    record = summary.record
    parts = [summary.title]
    scores = record.scores
    if scores is None:
        parts.append("not scored")
        parts += [f"{task} loss {loss:.3f}" for task, loss in record.losses.items()]
    else:
        parts.append(f"score {scores.score:.3f}")
        parts += [f"{name} {t.metric} {t.value:.3f}" for name, t in scores.tasks.items()]
    return "  ".join([*parts, *_remarks(summary)])


def table(summary: Summary) -> Group:
    """The epoch as a row for each task and one for the score, and the rest below."""
    record, before = summary.record, summary.before
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    made.add_column("task")
    for name in ("dev metric", "", "change", "loss", "examples", "epochs so far"):
        made.add_column(name, justify="left" if name == "dev metric" else "right")
    scores = record.scores
    for task, used in record.utilisation.items():
        dev, loss = ["not scored", "", ""], record.losses.get(task)
        if scores is not None:
            now = scores.tasks[task]
            dev = [now.metric, *_moved(now.value, before.tasks[task].value if before else None)]
        trained = ["" if loss is None else f"{loss:.3f}", f"{used.examples:,}"]
        made.add_row(task, *dev, *trained, f"{summary.passes[task]:.2f}")
    if scores is not None:
        made.add_section()
        made.add_row("score", "", *_moved(scores.score, before.score if before else None))
    return Group(made, Text("  ".join(_remarks(summary))))


def _moved(value: float, before: float | None) -> tuple[str, str]:
    return f"{value:.3f}", "" if before is None else f"{value - before:+.3f}"


def _remarks(summary: Summary) -> Iterator[str]:
    record = summary.record
    if summary.best:
        yield "best so far"
    times = {phase.name: phase.seconds for phase in record.phases}
    if record.scores is not None:
        times["dev sets"] = record.validation_seconds
    yield ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
    if summary.conflict_share is not None:
        yield f"conflicts in {summary.conflict_share:.0%} of joint steps"
    if summary.left:
        yield summary.left
    if record.synthetic:
        yield "(synthetic text)"


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
        self._console.print(_bar(Look(summary.title, "", steps, steps)), table(summary))

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
        self._say(line(summary))

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self._said = time.monotonic()


def bar_wanted(bar: bool | None) -> bool:
    """What ``trainer.enable_progress_bar`` says, None being: where stderr is a terminal."""
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


DEV_SETS = "dev sets"


class Watching(Callback):
    """Has a display show where the run stands; among the callbacks it comes after the recorder.

    Args:
        display: shows it.
        recorder: keeps the run's books.
        epochs: of the whole run.
        validate_every: epochs from one scoring of the dev sets to the next.
        conflict_share: says in what share of the epoch's joint steps so far some tasks
            conflicted; None before there was any.
    """

    def __init__(
        self,
        display: Display,
        recorder: Recorder,
        *,
        epochs: int,
        validate_every: int,
        conflict_share: Callable[[], float | None],
    ) -> None:
        self._display, self._recorder = display, recorder
        self._epochs, self._validate_every = epochs, validate_every
        self._conflict_share = conflict_share
        self._remaining = Remaining()
        self._clock = 0.0  # when the last thing that was measured ended

    def on_train_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Look ahead."""
        self._remaining.expect(*ahead(datamodule_of(trainer), self._epochs, self._validate_every))
        for record in self._recorder.epochs:
            if record.scores is not None:
                examples = sum(task.n for task in record.scores.tasks.values())
                self._remaining.dev_seconds = record.validation_seconds / examples
        self._clock = time.monotonic()

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, batch: PlanStep[Batch], batch_idx: int
    ) -> None:
        """Show which step begins, and what was measured before it."""
        if self._display.due():
            look = Look(
                f"epoch {batch.epoch}/{self._epochs}",
                batch.phase.name,
                batch.number,
                len(datamodule_of(trainer).plan(batch.epoch).steps),
                self._remaining.rate(batch.phase.name),
                self._conflict_share(),
                module.step_log.losses.epoch(),  # a GPU is waited for: not in every step
                in_words(self._remaining.left()),
            )
            self._display.show(look)

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        outputs: Any,
        batch: PlanStep[Batch],
        batch_idx: int,
    ) -> None:
        """Measure the step, with all that it was waited for."""
        seconds = self._lap()
        if batch.plan.rows:
            self._remaining.did(batch.phase.name, batch.plan.examples, seconds)

    def on_validation_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Start the clock where no step has."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._lap()

    def on_validation_batch_start(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        batch: PlanStep[Batch],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the dev sets are."""
        if self._display.due():
            title, losses = "untrained model", None
            of = sum(datamodule_of(trainer).sample_sizes.values())
            if trainer.state.fn == TrainerFn.FITTING:
                title = f"epoch {module.position.epoch}/{self._epochs}"
                losses = module.step_log.losses.epoch()
            elif self._recorder.epochs:
                title = "final scores"
                of = sum(datamodule_of(trainer).dev_sizes.values())
            left = self._remaining.left(time.monotonic() - self._clock, of)
            look = Look(
                title,
                DEV_SETS,
                batch_idx,
                int(sum(trainer.num_val_batches)),
                None,
                self._conflict_share(),
                losses,
                in_words(left),
            )
            self._display.show(look)

    def on_validation_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Remember what it took; outside training, make room for what comes."""
        datamodule = datamodule_of(trainer)
        fitting = trainer.state.fn == TrainerFn.FITTING
        sizes = datamodule.sample_sizes if fitting else datamodule.dev_sizes
        self._remaining.validated(sum(sizes.values()), self._lap())
        if not fitting:
            self._display.close()

    def on_train_epoch_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Sum up; books and checkpoints are written by now."""
        if module.evaluation is not None:
            self._remaining.closed(self._lap())
        *earlier, record = self._recorder.epochs
        best = self._recorder.best
        used = Counter[str]()
        for each in self._recorder.epochs:
            used.update({task: of.examples for task, of in each.utilisation.items()})
        sizes = datamodule_of(trainer).sizes
        summary = Summary(
            record,
            self._epochs,
            before=next((each.scores for each in reversed(earlier) if each.scores), None),
            best=best is not None and best.epoch == record.epoch,
            passes={task: used[task] / size for task, size in sizes.items()},
            conflict_share=self._conflict_share(),
            left=in_words(self._remaining.left()),
        )
        self._display.sum_up(summary)

    def on_exception(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, exception: BaseException
    ) -> None:
        """Leave the terminal to what is said about it."""
        self._display.close()

    def _lap(self) -> float:
        """Seconds since this was last asked."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before


def ahead(
    datamodule: PlanDataModule, epochs: int, validate_every: int
) -> tuple[dict[str, int], int, int]:
    """What a run has before it where it starts or goes on: examples by phase, dev examples, ends.

    The ends are those of scored epochs.

    The best epoch may be the last: then the whole dev sets are scored once less at the end.
    """
    start, examples, scored = datamodule.start, Counter[str](), 0
    for epoch in range(start.epoch, epochs + 1):
        examples.update(datamodule.examples(epoch))
        scored += is_scored(epoch, validate_every, epochs)
    for step in datamodule.plan(start.epoch).steps[: start.step]:
        examples[step.phase.name] -= step.examples
    dev = scored * sum(datamodule.sample_sizes.values())
    if datamodule.samples:
        dev += 2 * sum(datamodule.dev_sizes.values())
    return dict(examples), dev, scored
