"""Show a run while it trains: bars and tables on a terminal or in a notebook, lines in a log."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import EpochRecord, Scores
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.callbacks.time_left import Schedule
from mtl_bert.training.datamodule import DEV_SETS
from mtl_bert.utils.logging import bar_wanted, in_notebook
from mtl_bert.utils.screen import Screen

log = logging.getLogger(__name__)

MOST_TASKS = 8
"""Tasks that a line names; the epoch's table on a terminal has them all."""


class Stage(NamedTuple):
    """A part of a run that has a beginning and an end: a phase of an epoch, the whole run."""

    title: str
    done: int  # steps, those before a stop included; batches of the dev sets
    total: int
    left: str = ""  # the time left, in words; empty where unknown


@dataclass(frozen=True)
class EpochSummary:
    """What there is to say after an epoch."""

    record: EpochRecord
    epochs: int  # of the whole run
    before: Scores | None  # the last scores before it, if there are any
    best: bool  # no epoch was better so far
    passes: dict[str, float]  # examples of each task so far / size of its training set
    conflict_share: float | None  # of its steps with several tasks; None where there were none
    left: str  # the time left, in words; empty where unknown

    def line(self) -> str:
        """The epoch in a line: scores, or losses where the dev sets were not scored."""
        record, parts = self.record, [f"epoch {self.record.epoch}/{self.epochs}"]
        if record.scores is None:
            parts += ["not scored", *_losses(record.losses)]
        else:
            parts.append(f"score {record.scores.score:.3f}")
            tasks = record.scores.tasks.items()
            parts += _few([f"{name} {task.metric} {task.value:.3f}" for name, task in tasks])
        return "  ".join([*parts, *self.remarks()])

    def table(self) -> Table:
        """The epoch as a row for each task and one for the score, and the rest below."""
        record, scores, before = self.record, self.record.scores, self.before
        title, below = f"epoch {record.epoch}/{self.epochs}", "  ".join(self.remarks())
        table = Table(title=title, caption=below, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.title_justify = table.caption_justify = "left"
        for name in ("task", "dev metric", "", "change", "loss", "examples", "epochs so far"):
            table.add_column(name, justify="left" if name in ("task", "dev metric") else "right")

        def moved(value: float, old: float | None) -> tuple[str, str]:
            return f"{value:.3f}", "" if old is None else f"{value - old:+.3f}"

        for task, used in record.utilisation.items():
            dev, loss = ("not scored", "", ""), record.losses.get(task)
            if scores is not None:
                now = scores.tasks[task]
                dev = (now.metric, *moved(now.value, before.tasks[task].value if before else None))
            trained = "" if loss is None else f"{loss:.3f}", f"{used.examples:,}"
            table.add_row(task, *dev, *trained, f"{self.passes[task]:.2f}")
        if scores is not None:
            table.add_section()
            table.add_row("score", "", *moved(scores.score, before.score if before else None))
        return table

    def remarks(self) -> list[str]:
        """What is no task's own: the times, the conflicts, the time left."""
        times = {phase.name: phase.seconds for phase in self.record.phases}
        if self.record.scores is not None:
            times[DEV_SETS] = self.record.validation_seconds
        remarks = [
            "best so far" if self.best else "",
            ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items()),
            *_conflicts(self.conflict_share),
            self.left,
            "(synthetic text)" if self.record.synthetic else "",
        ]
        return [remark for remark in remarks if remark]


def _losses(losses: dict[str, float]) -> list[str]:
    return _few([f"{task} loss {loss:.3f}" for task, loss in losses.items()])


def _few(of_tasks: list[str]) -> list[str]:
    """What fits on a screen; metrics.jsonl has all of it."""
    more = len(of_tasks) - MOST_TASKS
    return of_tasks if more <= 0 else [*of_tasks[:MOST_TASKS], f"and {more} tasks more"]


def _conflicts(share: float | None) -> list[str]:
    return [] if share is None else [f"conflicts in {share:.0%} of joint steps"]


class LogLines:
    """A line a minute and one after each epoch, in the log."""

    every = 60.0  # seconds between two looks at a run

    def show(self, stages: Sequence[Stage], numbers: Sequence[str]) -> None:
        """Say where the run stands."""
        where = [f"{s.title} {s.done}/{s.total}  {s.left}".rstrip() for s in stages]
        log.info("%s", "  ".join([*where, *numbers]))

    def sum_up(self, summary: EpochSummary) -> None:
        """Say what an epoch reached."""
        log.info("%s", summary.line())

    def close(self) -> None:
        """Leave the screen to others."""


class Bars(LogLines):
    """Bars drawn in place on the terminal; messages and the epochs' tables go above them."""

    every = 0.5

    def __init__(self) -> None:
        self._console = Screen(stderr=True, force_terminal=True)
        self._live: Live | None = None

    def show(self, stages: Sequence[Stage], numbers: Sequence[str]) -> None:
        """Draw the bars."""
        if self._live is None:
            stderr = sys.stderr
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
            self._console.show_cursor(True)  # a kill would leave the terminal without one
            _redirect_loggers(stderr, sys.stderr)
        self._live.update(drawn(stages, numbers), refresh=True)

    def sum_up(self, summary: EpochSummary) -> None:
        """Leave a table behind."""
        self._console.print(summary.table())

    def close(self) -> None:
        """Take the bars away."""
        if self._live is not None:
            stderr = sys.stderr
            self._live.stop()
            _redirect_loggers(stderr, sys.stderr)
            self._live = None


def _redirect_loggers(old: TextIO, new: TextIO) -> None:
    """Have loggers write where rich keeps their messages apart from the bars."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


class NotebookBars(Bars):
    """The same in the cell of a notebook, whose output is replaced: that needs no widgets."""

    _cell: Any = None

    def show(self, stages: Sequence[Stage], numbers: Sequence[str]) -> None:
        """Draw the bars."""
        from IPython.display import display  # type: ignore[import-not-found]

        if self._cell is None:
            self._cell = display(drawn(stages, numbers), display_id=True)
        else:
            self._cell.update(drawn(stages, numbers))

    def close(self) -> None:
        """Take the bars away."""
        if self._cell is not None:
            self._cell.update(drawn([], []))
            self._cell = None


def drawn(stages: Sequence[Stage], numbers: Sequence[str]) -> Table:
    """A bar for each stage, and numbers below on as many lines as they need."""
    bars = Table.grid(padding=(0, 2, 0, 0), expand=True, pad_edge=False)
    for ratio in (None, 1, None, None):
        bars.add_column(ratio=ratio, no_wrap=True)
    for title, done, total, left in stages:
        bars.add_row(title, ProgressBar(total=total, completed=done), f"{done}/{total}", left)
    whole = Table.grid(expand=True)
    whole.add_row(bars)
    whole.add_row(Columns([Text(number, no_wrap=True) for number in numbers], padding=(0, 2)))
    return whole


class RunProgress(Callback):
    """Shows where the run stands; among the callbacks it comes after the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        bars = NotebookBars if in_notebook() else Bars
        wanted = bar_wanted(recorder.settings.trainer.enable_progress_bar)
        self._display = bars() if wanted else LogLines()
        self._recorder, self._epochs = recorder, recorder.settings.epochs
        self._module, self._datamodule = recorder.parts.module, recorder.parts.datamodule
        self._schedule = Schedule({})
        self._places: list[int] = []  # of the epoch's steps: which of its phase's each is
        self._phases = Counter[str]()  # the epoch's steps of each phase
        self._clock = self._shown = time.monotonic()  # what was measured ended; display changed

    def on_train_start(self, *_: Any) -> None:
        """Look ahead."""
        self._schedule.ahead = self._datamodule.work_ahead()
        self._lap()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note which steps are of which phase: phases may take turns."""
        self._places, self._phases = [], Counter()
        for step in self._datamodule.plan(self._datamodule.epoch).steps:
            self._places.append(self._phases[step.phase.name])
            self._phases[step.phase.name] += 1

    def on_train_batch_start(self, _: Any, __: Any, batch: PlanStep[Batch], *more: Any) -> None:
        """Show which step begins."""
        if batch.plan.rows and self._due():
            phase = batch.phase.name
            done, total = self._places[batch.number], self._phases[phase]
            rate = self._schedule.rate(phase)
            left = self._schedule.left({phase: (total - done) * batch.plan.examples})
            title = f"epoch {batch.epoch}/{self._epochs}  {phase}"
            numbers = [] if rate is None else [f"{rate:,.0f} examples/s"]
            self._show(Stage(title, done, total, str(left)), numbers)

    def on_train_batch_end(self, _: Any, __: Any, outputs: Any, batch: Any, *more: Any) -> None:
        """Measure the step, with all that it was waited for."""
        if batch.plan.rows:
            self._schedule.did(batch.phase.name, batch.plan.examples, self._lap())

    def on_validation_batch_start(
        self, trainer: Trainer, module: Any, batch: PlanStep[Batch], batch_idx: int, *_: Any
    ) -> None:
        """Show how far the dev sets are."""
        if self._due():
            title = "final scores" if self._recorder.state.epochs else "untrained model"
            if trainer.state.fn == TrainerFn.FITTING:
                title = f"epoch {self._module.position.epoch}/{self._epochs}"
            total = int(sum(trainer.num_val_batches))
            self._show(Stage(f"{title}  {DEV_SETS}", batch_idx, total), [])

    def on_validation_batch_end(
        self, _: Any, __: Any, outputs: Any, batch: Any, *more: Any
    ) -> None:
        """Measure it; the other processes score as many examples each."""
        examples = batch.plan.examples * self._module.trainer.world_size
        self._schedule.did(DEV_SETS, examples, self._lap())

    def on_train_epoch_end(self, *_: Any) -> None:
        """Sum up; the epoch is recorded and the checkpoint written by now."""
        if self._module.evaluation is not None:
            self._schedule.did(DEV_SETS, 0, self._lap())
        state, sizes = self._recorder.state, self._datamodule.sizes
        *earlier, record = state.epochs
        used = self._recorder.utilisation().items()
        self._display.sum_up(
            EpochSummary(
                record,
                self._epochs,
                before=next((each.scores for each in reversed(earlier) if each.scores), None),
                best=state.best is not None and state.best.epoch == record.epoch,
                passes={task: of.examples / sizes[task] for task, of in used},
                conflict_share=self._module.step_log.epoch.share(),
                left=str(self._schedule.left()),
            )
        )

    def teardown(self, *_: Any, **__: Any) -> None:
        """Leave the screen to what comes next."""
        self._display.close()

    on_exception = teardown

    def _show(self, stage: Stage, numbers: list[str]) -> None:
        """Show a stage, in training with the whole run and what was measured of the epoch."""
        stages = [stage]
        if self._module.trainer.state.fn == TrainerFn.FITTING:
            left, total = str(self._schedule.left()), self._datamodule.total_steps
            stages.append(Stage("whole run", self._module.steps, total, left))
            sums = self._module.step_log.epoch  # a GPU is waited for: not in every step
            numbers += _conflicts(sums.share()) + _losses(sums.losses())
        self._display.show(stages, numbers)
        self._shown = time.monotonic()

    def _due(self) -> bool:
        """Whether it is time to show something else."""
        return time.monotonic() - self._shown >= self._display.every

    def _lap(self) -> float:
        """Seconds since this was last asked."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before
