"""Keeps the books of a run: epochs, phases, times, the best epoch, checkpoints, predictions."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.data.collate import StepBatch
from mtl_bert.data.table import Table
from mtl_bert.files import replacing
from mtl_bert.reporting.results import EpochRecord, PhaseRecord, Scores, Utilisation
from mtl_bert.sampling import Epoch, Step
from mtl_bert.sampling.plan import rows_used
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.evaluation import Evaluation, write_predictions
from mtl_bert.training.module import MultiTaskModule

CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
METRICS = "metrics.jsonl"


class Recorder(Callback):
    """Writes ``metrics.jsonl``, checkpoints and dev predictions into a run's directory.

    Args:
        directory: the run's.
        dev: the dev sets, for the predictions' texts and labels.
        synthetic: whether any text is made up.
    """

    def __init__(self, directory: Path, dev: Mapping[str, Table], *, synthetic: bool) -> None:
        self.epochs: list[EpochRecord] = []
        self.best: Scores | None = None
        self.untrained: Evaluation | None = None
        self.remarks: list[str] = []
        self._directory, self._dev, self._synthetic = directory, dev, synthetic
        self._seen: dict[str, set[int]] = {task: set() for task in dev}
        self._clock = Stopwatch()
        self._validation_began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Start the clock."""
        self._clock = Stopwatch()

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, batch: StepBatch, batch_idx: int
    ) -> None:
        """Give the time from here on to the step's phase."""
        self._clock.enter(batch.phase.name)

    def on_validation_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Stop the clock of training."""
        self._clock.stop()
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Close the books of the epoch."""
        evaluation = module.evaluation
        if evaluation is None or trainer.state.fn != TrainerFn.FITTING:
            return
        seconds = time.perf_counter() - self._validation_began
        self.remarks += [f"epoch {evaluation.scores.epoch}: {r}" for r in evaluation.remarks]
        record = self._record(_plan(trainer), module, evaluation, seconds)
        self.epochs.append(record)
        if self.best is None or record.score > self.best.score:
            self.keep(trainer, evaluation)
        self.save_last(trainer)
        with (self._directory / METRICS).open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
        metrics = {"dev/score": record.score, "time/epoch_seconds": record.seconds}
        metrics |= {f"dev/{name}/{t.metric}": t.value for name, t in record.tasks.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def keep(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Take the model as it is for the best so far."""
        self.best = evaluation.scores
        with replacing(self._directory / CHECKPOINTS / "best.ckpt") as path:
            trainer.save_checkpoint(path, weights_only=True)
        for task, table in self._dev.items():
            place = self._directory / PREDICTIONS / f"{task}.csv"
            write_predictions(place, table, evaluation.predictions[task])

    def save_last(self, trainer: Trainer) -> None:
        """Save the model, the optimizer and the schedule as they are."""
        with replacing(self._directory / CHECKPOINTS / "last.ckpt") as path:
            trainer.save_checkpoint(path, weights_only=False)

    def utilisation(self, sizes: Mapping[str, int]) -> dict[str, Utilisation]:
        """How much of each training set the run has seen so far."""
        return {
            task: Utilisation(
                examples=sum(record.utilisation[task].examples for record in self.epochs),
                unique=len(self._seen[task]),
                fraction=len(self._seen[task]) / size,
            )
            for task, size in sizes.items()
        }

    def _record(
        self, plan: Epoch, module: MultiTaskModule, evaluation: Evaluation, seconds: float
    ) -> EpochRecord:
        utilisation = {}
        sizes: Mapping[str, int] = _datamodule(module.trainer).sizes
        for task, size in sizes.items():
            rows = rows_used(plan.steps, task)
            self._seen[task].update(rows.tolist())
            unique = len(np.unique(rows))
            utilisation[task] = Utilisation(
                examples=len(rows), unique=unique, fraction=unique / size
            )
        return EpochRecord(
            **dict(evaluation.scores),
            synthetic=self._synthetic,
            seconds=self._clock.total,
            validation_seconds=seconds,
            phases=[
                PhaseRecord(
                    name=phase.name,
                    steps=len(steps),
                    examples=_examples(steps),
                    seconds=self._clock.seconds[phase.name],
                )
                for phase, steps in plan.phases()
            ],
            losses=module.losses.epoch(),
            utilisation=utilisation,
        )


class Stopwatch:
    """Wall clock of an epoch, split by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase: str | None = None
        self._began = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds over all phases."""
        return sum(self.seconds.values())

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
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._began
        self._phase, self._began = None, now


def _examples(steps: tuple[Step, ...]) -> int:
    return sum(step.examples for step in steps)


def _datamodule(trainer: Trainer) -> PlanDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, PlanDataModule)
    return datamodule


def _plan(trainer: Trainer) -> Epoch:
    return _datamodule(trainer).plan(trainer.current_epoch + 1)
