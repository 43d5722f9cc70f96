"""Records a run: its epochs, phases and times, the best epoch, predictions, and its results."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from torch import Tensor, cuda

from mtl_bert.config.run_key import key_of
from mtl_bert.config.settings import Settings
from mtl_bert.data.batch import Batch
from mtl_bert.runs import checkpoint, provenance
from mtl_bert.runs.results import (
    EpochRecord,
    PhaseRecord,
    Results,
    RunFolder,
    RunState,
    Scores,
    Utilisation,
)
from mtl_bert.sampling import Epoch, Step
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.build import Assembly
from mtl_bert.training.evaluation import Evaluation, write_predictions
from mtl_bert.utils.files import write_text


class Recorder(Callback):
    """Writes ``metrics.jsonl``, the best checkpoint and dev predictions into a run's folder.

    Args:
        folder: of the run.
        settings: the run's.
        parts: that are trained.

    Attributes:
        epochs: what is known of each epoch so far.
        best: the best epoch's scores.
        untrained: the scores before training, if somebody measured them.
        remarks: what a reader of the results has to know, besides.
        device: that the run is trained on, in words.
        key: the run's, which its checkpoints carry.
    """

    def __init__(self, folder: RunFolder, settings: Settings, parts: Assembly) -> None:
        self.epochs: list[EpochRecord] = []
        self.best: Scores | None = None
        self.untrained: Scores | None = None
        self.remarks: list[str] = []
        self.device = ""
        self.folder, self.settings, self.parts = folder, settings, parts
        self._module, self._datamodule = parts.module, parts.datamodule
        self.key = key_of(settings)
        self._commit = provenance.commit()  # the checkout may change while the run goes on
        self._final: tuple[Scores, Scores] | None = None
        self._clock = Stopwatch({})
        self._validation_began = 0.0
        self._usage = Usage(parts.datamodule.sizes)
        self._steps, self._examples = 1, 0  # of the epoch's plan; begun since the run did

    @property
    def state(self) -> RunState:
        """Everything that another recorder needs to go on."""
        return RunState(
            epochs=self.epochs,
            best=self.best,
            untrained=self.untrained,
            remarks=self.remarks,
            phase_seconds=self._clock.seconds,
        )

    def resume(self, state: RunState) -> None:
        """Go on from the state in a checkpoint.

        The best checkpoint on disk may be of an epoch that has to be trained again.
        """
        self.epochs, self.untrained = list(state.epochs), state.untrained
        self.remarks, self._clock = list(state.remarks), Stopwatch(state.phase_seconds)
        self._write_metrics()
        if state.best is not None:
            best = checkpoint.read(self.folder.checkpoint("best"), self.key)
            self.best = Scores.model_validate_json(best["scores"])
            self._write_predictions(best)

    def finish(self, best: Evaluation, last: Evaluation) -> None:
        """Report what whole dev sets say of the last epoch and of the best, which samples chose."""
        self._final = best.scores, last.scores
        for epoch, remarks in {e.scores.epoch: e.remarks for e in (best, last)}.items():
            self.remarks += [f"epoch {epoch}, whole dev sets: {remark}" for remark in remarks]
        self._write_predictions(_columns(best))

    def results(self) -> Results:
        """The results so far or at the end; of whole dev sets as soon as those were scored."""
        last = self.epochs[-1].scores if self.epochs else self.best
        best, last = self._final or (self.best, last)
        assert best is not None
        assert last is not None
        log, seconds = self._module.step_log, [epoch.seconds for epoch in self.epochs]
        notes = notes_on(self.settings, self.parts, trained=bool(self.epochs)) + self.remarks
        if log.skipped:
            notes.append(f"{len(log.skipped)} steps were skipped: not all was finite")
        return Results(
            config=self.settings.config(),
            overrides=self.settings.overrides,
            seed=self.settings.seed,
            commit=self._commit,
            device=self.device,
            versions=provenance.versions(),
            data=self.parts.data,
            encoder=self.parts.encoder,
            score=best.score,
            tasks=best.tasks,
            best_epoch=best.epoch,
            last_epoch=last.epoch,
            last=last,
            untrained=self.untrained,
            utilisation=self.utilisation(),
            minutes_per_epoch=sum(seconds) / max(1, len(seconds)) / 60,
            epochs=self.epochs,
            skipped=log.skipped,
            overflows=log.overflows,
            notes=notes,
            finished=datetime.now(UTC),
        )

    def on_train_start(self, *_: Any) -> None:
        """Have every row of metrics say where training stood."""
        self._module.axes = self._axes

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock; on resuming, from what the epoch has already taken."""
        self._clock = Stopwatch(self._clock.seconds)
        epoch, start = self._datamodule.epoch, self._datamodule.start
        steps = self._datamodule.plan(epoch).steps
        begun = steps[: start.step] if epoch == start.epoch else ()
        past = (phase.examples for epoch in self.epochs for phase in epoch.phases)
        self._steps, self._examples = len(steps), sum(past) + _examples(begun)

    def on_train_batch_start(
        self, trainer: Trainer, module: Any, batch: PlanStep[Batch], batch_idx: int
    ) -> None:
        """Give the time from here on to the step's phase."""
        if batch.plan.rows:
            self._clock.enter(batch.phase.name)
            self._examples += batch.plan.examples

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock of training."""
        self._clock.stop()
        self._validation_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Record the epoch; its dev sets have been scored by now, where they are."""
        self._clock.stop()
        self.epochs.append(self._record())
        self._clock = Stopwatch({})
        if (evaluation := self._module.evaluation) is not None:
            scores = evaluation.scores
            self.remarks += [f"epoch {scores.epoch}: {remark}" for remark in evaluation.remarks]
            if self.best is None or scores.score > self.best.score:
                self.keep_best(evaluation)
        self._write_metrics()
        metrics = self._axes() | self._metrics()
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self._module.steps)

    def utilisation(self) -> dict[str, Utilisation]:
        """How much of each training set the run's epochs so far have used."""
        self._usage.until(len(self.epochs), self._datamodule.plan)
        return self._usage.read()

    def keep_best(self, evaluation: Evaluation) -> None:
        """Write the model as the best so far, and its predictions."""
        self.best, columns = evaluation.scores, _columns(evaluation)
        state = {"state_dict": self._module.state_dict(), "scores": self.best.model_dump_json()}
        checkpoint.write(self.folder.checkpoint("best"), self.key, state | columns)
        self._write_predictions(columns)

    def _axes(self) -> dict[str, float]:
        """Where training stands, in epochs, examples and seconds without validation."""
        epoch, step = self._module.position
        seconds = sum(e.seconds for e in self.epochs) + sum(self._clock.seconds.values())
        return {
            "progress/epoch": epoch - 1 + step / self._steps,
            "progress/examples": float(self._examples),  # what a CSV file gives back
            "progress/seconds": seconds,
        }

    def _metrics(self) -> dict[str, float]:
        """What the last epoch took and reached, as loggers get it."""
        record = self.epochs[-1]
        metrics = {"time/epoch_seconds": record.seconds}
        if record.seconds > 0:
            examples = sum(phase.examples for phase in record.phases)
            metrics["time/examples_per_second"] = examples / record.seconds
        if (scores := record.scores) is not None:
            metrics["dev/score"] = scores.score
            metrics |= {f"dev/{name}/{t.metric}": t.value for name, t in scores.tasks.items()}
        for task, used in self.utilisation().items():
            epochs = used.examples / self._datamodule.sizes[task]
            metrics[f"utilisation/fraction/{task}"] = used.fraction
            metrics[f"utilisation/examples/{task}"] = float(used.examples)
            metrics[f"utilisation/effective_epochs/{task}"] = epochs
        return metrics

    def _write_predictions(self, columns: Mapping[str, Any]) -> None:
        dev, (predictions, confidence) = self.parts.dev, (columns[name] for name in COLUMNS)
        if any(len(predictions[task]) < len(table) for task, table in dev.items()):
            return  # a sample's: the whole dev sets' are written at the end
        for task, table in dev.items():
            path = self.folder.predictions(task)
            write_predictions(path, table, predictions[task], confidence[task])

    def _write_metrics(self) -> None:
        lines = [record.model_dump_json() + "\n" for record in self.epochs]
        write_text(self.folder.metrics, "".join(lines))

    def _record(self) -> EpochRecord:
        """The epoch that ends."""
        evaluation, log, clock = self._module.evaluation, self._module.step_log, self._clock.seconds
        plan = self._datamodule.plan(self._module.position.epoch)
        used = Usage(self._datamodule.sizes)
        used.add(plan)
        scores, validation_seconds = None, 0.0
        if evaluation is not None:
            scores = evaluation.scores
            validation_seconds = time.perf_counter() - self._validation_began
        return EpochRecord(
            epoch=plan.number,
            score=None if scores is None else scores.score,
            tasks=None if scores is None else scores.tasks,
            synthetic=self.parts.data.synthetic,
            seconds=sum(clock.values()),
            validation_seconds=validation_seconds,
            phases=[
                PhaseRecord(
                    name=phase.name,
                    steps=len(steps),
                    examples=_examples(steps),
                    seconds=clock[phase.name],
                    conflicts=log.conflicts.of(phase.name),
                    layers=log.conflicts.layers(phase.name),
                )
                for phase, steps in plan.phases()
            ],
            losses=log.losses.epoch(),
            utilisation=used.read(),
        )


class Usage:
    """Counts what epochs use, one after another.

    Args:
        sizes: of the training sets.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._examples = Counter[str]()
        self._seen = {task: np.zeros(size, bool) for task, size in sizes.items()}
        self._epochs = 0

    def until(self, epoch: int, plan: Callable[[int], Epoch]) -> None:
        """Count every epoch up to this one that is not counted yet."""
        for number in range(self._epochs + 1, epoch + 1):
            self.add(plan(number))

    def add(self, plan: Epoch) -> None:
        """Count one epoch more."""
        for task, seen in self._seen.items():
            rows = rows_used(plan.steps, task)
            self._examples[task] += len(rows)
            seen[rows] = True
        self._epochs += 1

    def read(self) -> dict[str, Utilisation]:
        """Of each task, over the epochs counted."""
        return {
            task: Utilisation(
                examples=self._examples[task], unique=int(seen.sum()), fraction=float(seen.mean())
            )
            for task, seen in self._seen.items()
        }


class Stopwatch:
    """Wall clock of an epoch, split by phase.

    Args:
        seconds: of each phase so far.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = dict(seconds)
        self._phase: str | None = None
        self._began = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each phase, the running one included."""
        seconds = dict(self._seconds)
        if self._phase is not None:
            running = time.perf_counter() - self._began
            seconds[self._phase] = seconds.get(self._phase, 0.0) + running
        return seconds

    def enter(self, phase: str) -> None:
        """Count from now on for ``phase``; what came before the first phase is its as well."""
        if self._phase not in (None, phase):
            self.stop()
        self._phase = phase

    def stop(self) -> None:
        """Close the running phase, waiting for the work that it has queued."""
        if cuda.is_available():
            cuda.synchronize()
        self._seconds, self._phase, self._began = self.seconds, None, time.perf_counter()


def notes_on(settings: Settings, parts: Assembly, *, trained: bool) -> list[str]:
    """What a reader has to know about numbers from such data and such training.

    Args:
        settings: the run's.
        parts: that are trained and scored.
        trained: whether anything is.
    """
    data, plan, notes = parts.data, parts.datamodule, []
    if data.synthetic:
        notes.append(f"data={data.name} is synthetic: no number here is a published one")
    for task, data_sets in data.seen.items():
        notes.append(
            f"the encoder has seen the data of {task} before: its model card names "
            f"{', '.join(data_sets)}"
        )
    if not trained:
        return notes
    if (window := settings.group_by_length) is not None:
        notes.append(
            f"group_by_length={window}: examples of like length share a batch, within {window} "
            "steps; the paper's batches are random"
        )
    if (every := settings.trainer.check_val_every_n_epoch) > 1:
        notes.append(
            f"trainer.check_val_every_n_epoch={every}: the best epoch is the best of those that "
            "were scored"
        )
    if plan.samples:
        sampled = [
            f"{sample:,} of the {plan.dev_sizes[task]:,} of {task}"
            for task, sample in plan.sample_sizes.items()
            if sample < plan.dev_sizes[task]
        ]
        notes.append(
            f"trainer.dev_sample={settings.trainer.dev_sample}: the best epoch is chosen on a "
            f"sample of dev examples ({', '.join(sampled)}); its scores and the last epoch's are "
            "of all"
        )
    return notes


COLUMNS = ("predictions", "confidence")


def _columns(evaluation: Evaluation) -> dict[str, dict[str, Tensor]]:
    """The predictions of each task, and the confidence in them, as a checkpoint keeps them."""
    answers = evaluation.answers.items()
    return {c: {task: getattr(given, c).double() for task, given in answers} for c in COLUMNS}


def _examples(steps: Sequence[Step]) -> int:
    return sum(step.examples for step in steps)
