"""Records a run: its epochs, phases and times, the best epoch, the predictions."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from mtl_bert.data.batch import Batch
from mtl_bert.data.table import Table
from mtl_bert.runs import checkpoint
from mtl_bert.runs.results import (
    EpochRecord,
    PhaseRecord,
    RunFolder,
    RunState,
    Scores,
    Utilisation,
)
from mtl_bert.sampling import Epoch, Step
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.datamodule import PlanDataModule, datamodule_of
from mtl_bert.training.evaluation import Evaluation, write_predictions
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.utils.files import write_text


class Usage:
    """Counts what epochs use, one after another.

    Args:
        sizes: of the training sets.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._examples = dict.fromkeys(sizes, 0)
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
        unique = {task: int(seen.sum()) for task, seen in self._seen.items()}
        return {
            task: Utilisation(
                examples=self._examples[task],
                unique=unique[task],
                fraction=unique[task] / len(seen),
            )
            for task, seen in self._seen.items()
        }


class Reported(NamedTuple):
    """The scores of the best epoch and of the last."""

    best: Scores
    last: Scores


class Recorder(Callback):
    """Writes ``metrics.jsonl``, the best checkpoint and dev predictions into a run's folder.

    Args:
        folder: of the run.
        dev: the dev sets, for the predictions' texts and labels.
        synthetic: whether any text is made up.

    Attributes:
        epochs: the finished ones.
        best: the scores by which an epoch was chosen, on samples where those are scored.
        untrained: the scores before training.
        remarks: metrics that were undefined.
    """

    def __init__(self, folder: RunFolder, dev: Mapping[str, Table], *, synthetic: bool) -> None:
        self.epochs: list[EpochRecord] = []
        self.best: Scores | None = None
        self.untrained: Scores | None = None
        self.remarks: list[str] = []
        self._final: Reported | None = None
        self._folder, self._dev, self._synthetic = folder, dev, synthetic
        self._clock = Stopwatch({})
        self._validation_began = 0.0
        self._usage: Usage | None = None
        self._steps, self._examples = 1, 0  # of the epoch's plan; begun since the run did

    @property
    def reported(self) -> Reported:
        """What results say of the run: on whole dev sets as soon as those have been scored."""
        if self._final is not None:
            return self._final
        assert self.best is not None
        last = self.epochs[-1].scores if self.epochs else self.best
        assert last is not None
        return Reported(self.best, last)

    @property
    def state(self) -> RunState:
        """Everything that another recorder needs to go on."""
        return RunState(
            epochs=self.epochs,
            best=self.best,
            untrained=self.untrained,
            remarks=self.remarks,
            phase_seconds=self._clock.so_far(),
        )

    def resume(self, state: RunState) -> None:
        """Go on from the state in a checkpoint.

        The best checkpoint on disk may be of an epoch that has to be trained again.
        """
        self.epochs, self.untrained = list(state.epochs), state.untrained
        self.remarks, self._clock = list(state.remarks), Stopwatch(state.phase_seconds)
        self._write_metrics()
        if state.best is not None:
            best = checkpoint.read(self._folder.checkpoint("best"))
            self.best = Scores.model_validate_json(best["scores"])
            self._write_predictions(best["predictions"], best["confidence"])

    def finish(self, best: Evaluation, last: Evaluation) -> None:
        """Report what whole dev sets say of the last epoch and of the best, which samples chose."""
        self._final = Reported(best.scores, last.scores)
        for epoch, remarks in {e.scores.epoch: e.remarks for e in (best, last)}.items():
            self.remarks += [f"epoch {epoch}, whole dev sets: {remark}" for remark in remarks]
        self._write_predictions(*_columns(best))

    def on_train_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Have every row of metrics say where training stood."""
        module.axes = lambda: self._axes(module)

    def on_train_epoch_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Start the clock; on resuming, from what the epoch has already taken."""
        datamodule, first = datamodule_of(trainer), trainer.current_epoch == 0
        self._clock = Stopwatch(self._clock.seconds if first else {})
        steps = datamodule.plan(datamodule.epoch).steps
        begun = steps[: datamodule.start.step] if first else ()
        past = (phase.examples for epoch in self.epochs for phase in epoch.phases)
        self._steps, self._examples = len(steps), sum(past) + _examples(begun)

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, batch: PlanStep[Batch], batch_idx: int
    ) -> None:
        """Give the time from here on to the step's phase."""
        if batch.plan.rows:
            self._clock.enter(batch.phase.name)
            self._examples += batch.plan.examples

    def on_validation_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Stop the clock of training."""
        self._clock.stop()
        self._validation_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Record the epoch; its dev sets have been scored by now, where they are."""
        evaluation = module.evaluation
        self._clock.stop()
        datamodule = datamodule_of(trainer)
        record = self._record(datamodule, module, evaluation)
        self.epochs.append(record)
        self._clock = Stopwatch({})
        metrics = self._axes(module) | _metrics(record)
        for task, used in self.utilisation(datamodule).items():
            metrics[f"utilisation/fraction/{task}"] = used.fraction
            metrics[f"utilisation/examples/{task}"] = float(used.examples)
            size = datamodule.sizes[task]
            metrics[f"utilisation/effective_epochs/{task}"] = used.examples / size
        if evaluation is not None:
            scores = evaluation.scores
            self.remarks += [f"epoch {scores.epoch}: {r}" for r in evaluation.remarks]
            if self.best is None or scores.score > self.best.score:
                self.keep_best(module, evaluation)
        self._write_metrics()
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=module.steps)

    def utilisation(self, datamodule: PlanDataModule) -> dict[str, Utilisation]:
        """How much of each training set the run's epochs so far have used."""
        if self._usage is None:
            self._usage = Usage(datamodule.sizes)
        self._usage.until(len(self.epochs), datamodule.plan)
        return self._usage.read()

    def _axes(self, module: MultiTaskModule) -> dict[str, float]:
        """Where training stands, in epochs, examples and seconds without validation."""
        epoch, step = module.position
        return {
            "progress/epoch": epoch - 1 + step / self._steps,
            "progress/examples": float(self._examples),  # what a CSV file gives back
            "progress/seconds": sum(e.seconds for e in self.epochs)
            + sum(self._clock.so_far().values()),
        }

    def keep_best(self, module: MultiTaskModule, evaluation: Evaluation) -> None:
        """Write the model as the best so far, and its predictions."""
        self.best = evaluation.scores
        predictions, confidence = _columns(evaluation)
        content = {
            "state_dict": module.state_dict(),
            "scores": self.best.model_dump_json(),
            "predictions": predictions,
            "confidence": confidence,
        }
        checkpoint.write(self._folder.checkpoint("best"), content)
        self._write_predictions(predictions, confidence)

    def _write_predictions(
        self, predictions: Mapping[str, torch.Tensor], confidence: Mapping[str, torch.Tensor]
    ) -> None:
        if any(len(predictions[task]) < len(table) for task, table in self._dev.items()):
            return  # a sample's: the whole dev sets' are written at the end
        for task, table in self._dev.items():
            path = self._folder.predictions(task)
            write_predictions(path, table, predictions[task], confidence[task])

    def _write_metrics(self) -> None:
        lines = [record.model_dump_json() + "\n" for record in self.epochs]
        write_text(self._folder.metrics, "".join(lines))

    def _record(
        self,
        datamodule: PlanDataModule,
        module: MultiTaskModule,
        evaluation: Evaluation | None,
    ) -> EpochRecord:
        plan = datamodule.plan(module.position.epoch)
        used = Usage(datamodule.sizes)
        used.add(plan)
        scores, seconds = None, 0.0
        if evaluation is not None:
            scores, seconds = evaluation.scores, time.perf_counter() - self._validation_began
        return EpochRecord(
            epoch=plan.number,
            score=None if scores is None else scores.score,
            tasks=None if scores is None else scores.tasks,
            synthetic=self._synthetic,
            seconds=self._clock.total,
            validation_seconds=seconds,
            phases=[
                PhaseRecord(
                    name=phase.name,
                    steps=len(steps),
                    examples=_examples(steps),
                    seconds=self._clock.seconds[phase.name],
                    conflicts=module.step_log.conflicts.of(phase.name),
                    layers=module.step_log.conflicts.layers(phase.name),
                )
                for phase, steps in plan.phases()
            ],
            losses=module.step_log.losses.epoch(),
            utilisation=used.read(),
        )


def _columns(evaluation: Evaluation) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The predictions of each task, and the confidence in them."""
    answers = evaluation.answers.items()
    return (
        {task: given.predictions.double() for task, given in answers},
        {task: given.confidence.double() for task, given in answers},
    )


def _metrics(record: EpochRecord) -> dict[str, float]:
    """What an epoch took and reached, as loggers get it."""
    metrics = {"time/epoch_seconds": record.seconds}
    if record.seconds > 0:
        examples = sum(phase.examples for phase in record.phases)
        metrics["time/examples_per_second"] = examples / record.seconds
    if (scores := record.scores) is not None:
        metrics["dev/score"] = scores.score
        metrics |= {f"dev/{name}/{t.metric}": t.value for name, t in scores.tasks.items()}
    return metrics


class Stopwatch:
    """Wall clock of an epoch, split by phase.

    Args:
        seconds: of each phase so far.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)
        self._phase: str | None = None
        self._began = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds over all phases."""
        return sum(self.seconds.values())

    def so_far(self) -> dict[str, float]:
        """Seconds of each phase, the running one included."""
        seconds = dict(self.seconds)
        if self._phase is not None:
            running = time.perf_counter() - self._began
            seconds[self._phase] = seconds.get(self._phase, 0.0) + running
        return seconds

    def enter(self, phase: str) -> None:
        """Count from now on for ``phase``; what came before the first phase is its as well."""
        if phase == self._phase:
            return
        if self._phase is not None:
            self.stop()
        self._phase = phase

    def stop(self) -> None:
        """Close the running phase, waiting for the work that it has queued."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds, self._phase, self._began = self.so_far(), None, time.perf_counter()


def _examples(steps: tuple[Step, ...]) -> int:
    return sum(step.examples for step in steps)
