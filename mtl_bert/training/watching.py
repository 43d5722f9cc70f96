"""Follows a run: where it stands, how fast it is, how long it will take."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.data.collate import StepBatch
from mtl_bert.reporting.epochs import Summary
from mtl_bert.training.datamodule import PlanDataModule, datamodule_of
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.training.progress import Display, Look
from mtl_bert.training.recorder import Recorder
from mtl_bert.training.remaining import Remaining, in_words
from mtl_bert.training.validating import is_scored

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
        self, trainer: Trainer, module: MultiTaskModule, batch: StepBatch, batch_idx: int
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
                module.losses.epoch(),  # a GPU is waited for: not in every step
                in_words(self._remaining.left()),
            )
            self._display.show(look)

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        outputs: Any,
        batch: StepBatch,
        batch_idx: int,
    ) -> None:
        """Measure the step, with all that it was waited for."""
        seconds = self._lap()
        if batch.step.rows:
            self._remaining.did(batch.phase.name, batch.step.examples, seconds)

    def on_validation_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Start the clock where no step has."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._lap()

    def on_validation_batch_start(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        batch: StepBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the dev sets are."""
        if self._display.due():
            title, losses = "untrained model", None
            of = sum(datamodule_of(trainer).sample_sizes.values())
            if trainer.state.fn == TrainerFn.FITTING:
                title = f"epoch {module.position.epoch}/{self._epochs}"
                losses = module.losses.epoch()
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
