"""Records a run: its epochs, phases and times, the best epoch, checkpoints, and its results."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import cuda

from mtl_bert.config.run_key import key_of
from mtl_bert.config.settings import Settings
from mtl_bert.data.batch import Batch
from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint, provenance
from mtl_bert.runs.checkpoint import Position
from mtl_bert.runs.results import (
    EpochRecord,
    PhaseRecord,
    Results,
    RunFolder,
    RunState,
    Scores,
    TaskScore,
    Utilisation,
    named,
)
from mtl_bert.sampling import Epoch
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.build import Assembly
from mtl_bert.training.divergence import DivergedError
from mtl_bert.training.evaluation import Evaluation, write_predictions
from mtl_bert.training.meters import Tally
from mtl_bert.utils.files import write_text


class Recorder(Callback):
    """Writes ``metrics.jsonl``, checkpoints and dev predictions into a run's folder.

    Attributes:
        device: that the run is trained on, in words.
        wandb_id: of the W&B run that goes on with this one, if there is any.
        key: the run's, which its checkpoints carry.
        trained: numbers that training may change.
        more: what the best model reaches on further labelled sets: task -> name -> score.
    """

    def __init__(self, folder: RunFolder, settings: Settings, parts: Assembly) -> None:
        self.folder, self.settings, self.parts = folder, settings, parts
        self._module, self._datamodule = parts.module, parts.datamodule
        self.device, self.key = "", key_of(settings)
        self.wandb_id: str | None = None
        self.more: dict[str, dict[str, TaskScore]] = {}
        model = parts.module.model
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._commit = provenance.commit()  # the checkout may change while the run goes on
        self._state = RunState()
        self._final: tuple[Scores, Scores, dict[str, Scores]] | None = None
        self._phase: str | None = None  # that is running
        self._since = self._validation_began = 0.0
        self._saved, self._digest = time.monotonic(), parts.datamodule.digest()
        self._usage = Usage(parts.datamodule.sizes)
        self._steps, self._examples = 1, 0  # of the epoch's plan; begun since the run did

    @property
    def state(self) -> RunState:
        """What is known of the run so far: all that another recorder needs to go on."""
        self._lap(self._phase)
        return self._state

    def resume(self, state: RunState) -> None:
        """Go on from the state in a checkpoint."""
        self._state = state
        self._write_metrics()
        if state.best is not None:  # the one on disk may be of an epoch that is trained again
            best = checkpoint.read(self.folder.checkpoint("best"), self.key)
            state.best = Scores.model_validate_json(best["scores"])
            self._write_predictions(best)
        for task in state.best_of_tasks:  # likewise
            own = checkpoint.read(self.folder.checkpoint_of(task), self.key)
            state.best_of_tasks[task] = Scores.model_validate_json(own["scores"])

    def finish(self, evaluations: Mapping[int, Evaluation], best: int, last: int) -> None:
        """Report what whole dev sets say of the last epoch and of the best, which samples chose.

        ``evaluations`` are by their epochs, each task's own best one among them.
        """
        scores = {epoch: evaluation.scores for epoch, evaluation in evaluations.items()}
        own = {task: scores[chosen.epoch] for task, chosen in self._state.best_of_tasks.items()}
        self._final = scores[best], scores[last], own
        for epoch in dict.fromkeys((best, last, *scores)):
            lead = f"epoch {epoch}, whole dev sets"
            remarks = evaluations[epoch].remarks
            self._state.remarks += [f"{lead}: {remark}" for remark in remarks]
        write_predictions(self.folder, self.parts.dev, evaluations[best].columns())

    def results(self) -> Results:
        """The results so far or at the end; of whole dev sets as soon as those were scored."""
        state, epochs = self._state, self._state.epochs
        so_far = state.best, epochs[-1].scores if epochs else state.best, state.best_of_tasks
        best, last, best_of_tasks = self._final or so_far
        assert best is not None
        assert last is not None
        log, seconds = self._module.step_log, [epoch.seconds for epoch in epochs]
        notes = notes_on(self.settings, self.parts) + state.remarks
        notes += [
            f"{task} was not learned: one answer for all examples reaches its {of.metric}, too"
            for task, of in best.tasks.items()
            if epochs and of.learned is False
        ]
        if log.skipped:
            notes.append(
                f"{len(log.skipped)} steps were skipped: a loss or gradient was not finite"
            )
        if self._module.patience_is_over(self._datamodule.history):
            patience = self.settings.trainer.patience
            notes.append(f"trainer.patience={patience}: ended after epoch {last.epoch}")
        return Results(
            config=self.settings.config(),
            overrides=self.settings.overrides,
            seed=self.settings.seed,
            commit=self._commit,
            device=self.device,
            versions=provenance.versions(),
            data=self.parts.data,
            encoder=self.parts.encoder,
            trained=self.trained,
            score=best.score,
            tasks=best.tasks,
            more=self.more,
            best_epoch=best.epoch,
            last_epoch=last.epoch,
            last=last,
            best_of_tasks=best_of_tasks,
            untrained=state.untrained,
            utilisation=self.utilisation(),
            minutes_per_epoch=sum(seconds) / max(1, len(seconds)) / 60,
            epochs=epochs,
            skipped=log.skipped,
            overflows=log.overflows,
            notes=notes,
            finished=datetime.now(UTC),
        )

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock; on resuming, from what the epoch has already taken."""
        self._since = time.perf_counter()
        epoch, start = self._datamodule.epoch, self._datamodule.start
        steps = self._datamodule.plan(epoch).steps
        begun = steps[: start.step] if epoch == start.epoch else ()
        past = (phase.examples for epoch in self._state.epochs for phase in epoch.phases)
        self._steps, self._examples = len(steps), sum(past) + sum(step.examples for step in begun)

    def on_train_batch_start(self, _: Any, __: Any, batch: PlanStep[Batch], *more: Any) -> None:
        """Give the time from here on to the step's phase."""
        if batch.plan.rows:
            self._lap(batch.phase.name)
            self._examples += batch.plan.examples

    def on_train_batch_end(self, trainer: Trainer, _: Any, __: Any, batch: Any, *more: Any) -> None:
        """Log and save if it is time to; save if it is the last chance."""
        wanted, steps = self.settings.trainer, self._module.steps
        if batch.plan.rows and steps % wanted.log_every_n_steps == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._log(self._module.step_log.epoch.recent() | {"train/lr": rate})
        due = wanted.save_steps is not None and steps % wanted.save_steps == 0
        if wanted.save_minutes is not None:
            due |= time.monotonic() - self._saved >= 60 * wanted.save_minutes
        if self._module.stopping or due:
            self._save(trainer, self._module.position)

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock of training."""
        self._lap(None)
        self._validation_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Record the epoch, and save the start of the next."""
        self._module.remember_epoch()
        self.record_epoch(trainer)
        self._save(trainer, Position(self._module.position.epoch + 1))

    def on_exception(self, trainer: Trainer, module: Any, exception: BaseException) -> None:
        """Save what a run was before it diverged, or when it was stopped in a validation."""
        wanted = Interrupted if trainer.validating else DivergedError
        if trainer.state.fn == TrainerFn.FITTING and isinstance(exception, wanted):
            self._save(trainer, self._module.position)

    def record_epoch(self, trainer: Trainer) -> None:
        """Record the epoch that ends; its dev sets have been scored by now, where they are."""
        self._lap(None)
        self._state.epochs.append(self._record())
        self._state.phase_seconds = {}
        if (evaluation := self._module.evaluation) is not None:
            scores, best = evaluation.scores, self._state.best
            said = [f"epoch {scores.epoch}: {remark}" for remark in evaluation.remarks]
            self._state.remarks += said
            if best is None or scores.score > best.score:
                self.keep_best(evaluation)
            if self.settings.trainer.best_per_task:
                self._keep_best_of_tasks(scores)
        self._write_metrics()
        self._log(self._metrics())

    def utilisation(self) -> dict[str, Utilisation]:
        """How much of each training set the run's epochs so far have used."""
        for number in range(self._usage.epochs + 1, len(self._state.epochs) + 1):
            self._usage.add(self._datamodule.plan(number))
        return self._usage.read()

    def keep_best(self, evaluation: Evaluation) -> None:
        """Write the model as the best so far, and its predictions."""
        self._state.best = evaluation.scores
        scores, weights = evaluation.scores.model_dump_json(), self._module.model.state_dict()
        content = {"state_dict": weights, "scores": scores, **evaluation.columns()}
        checkpoint.write(self.folder.checkpoint("best"), self.key, content)
        self._write_predictions(content)

    def _keep_best_of_tasks(self, scores: Scores) -> None:
        """Write the model for each task that is better than ever."""
        best = self._state.best_of_tasks
        for task, found in scores.tasks.items():
            if task not in best or found.rising > best[task].tasks[task].rising:
                best[task] = scores
                weights = self._module.model.state_dict()
                content = {"state_dict": weights, "scores": scores.model_dump_json()}
                checkpoint.write(self.folder.checkpoint_of(task), self.key, content)

    def _write_predictions(self, columns: Mapping[str, Any]) -> None:
        """Write them, unless they are of a sample; those of the whole dev sets come at the end."""
        if not self._datamodule.samples or not self._datamodule.total_steps:
            write_predictions(self.folder, self.parts.dev, columns)

    def _save(self, trainer: Trainer, position: Position) -> None:
        for logger in trainer.loggers:
            logger.save()
        # The training sets may not change before the run goes on.
        kept = {"data": self._digest, "wandb_id": self.wandb_id}
        content = self._module.training_state(position) | kept
        content["run_state"] = self.state.model_dump_json()
        checkpoint.write_last(self.folder, self.key, content)
        self._saved = time.monotonic()

    def _lap(self, phase: str | None) -> None:
        """Give the time since the last lap to the phase that was running; ``phase`` runs now.

        What comes before an epoch's first phase is its as well.
        """
        if self._phase is not None:
            if phase != self._phase and cuda.is_available():
                cuda.synchronize()  # what it has queued
            now, seconds = time.perf_counter(), self._state.phase_seconds
            seconds[self._phase] = seconds.get(self._phase, 0.0) + now - self._since
            self._since = now
        self._phase = phase

    def _log(self, metrics: dict[str, float]) -> None:
        """Log with where training stands, in epochs, examples and seconds without validation."""
        (epoch, step), state = self._module.position, self.state
        seconds = sum(e.seconds for e in state.epochs) + sum(state.phase_seconds.values())
        metrics |= {
            "progress/epoch": epoch - 1 + step / self._steps,
            "progress/examples": float(self._examples),  # what a CSV file gives back
            "progress/seconds": seconds,
        }
        for logger in self._module.loggers:
            logger.log_metrics(metrics, step=self._module.steps)

    def _metrics(self) -> dict[str, float]:
        """What the last epoch took and reached, as loggers get it."""
        record = self._state.epochs[-1]
        metrics = {"time/epoch_seconds": record.seconds}
        if record.seconds > 0:
            examples = sum(phase.examples for phase in record.phases)
            metrics["time/examples_per_second"] = examples / record.seconds
        if (scores := record.scores) is not None:
            metrics |= named(scores, "dev")
        for task, used in self.utilisation().items():
            epochs = used.examples / self._datamodule.sizes[task]
            metrics[f"utilisation/fraction/{task}"] = used.fraction
            metrics[f"utilisation/examples/{task}"] = float(used.examples)
            metrics[f"utilisation/effective_epochs/{task}"] = epochs
        return metrics

    def _write_metrics(self) -> None:
        lines = [record.model_dump_json() + "\n" for record in self._state.epochs]
        write_text(self.folder.metrics, "".join(lines))

    def _record(self) -> EpochRecord:
        """The epoch that ends."""
        evaluation, sums = self._module.evaluation, self._module.step_log.epoch
        seconds = self._state.phase_seconds
        plan = self._datamodule.plan(self._module.position.epoch)
        used = Usage(self._datamodule.sizes)
        used.add(plan)
        scores = evaluation.scores if evaluation else None
        return EpochRecord(
            epoch=plan.number,
            score=scores.score if scores else None,
            tasks=scores.tasks if scores else None,
            synthetic=self.parts.data.synthetic,
            seconds=sum(seconds.values()),
            validation_seconds=time.perf_counter() - self._validation_began if scores else 0.0,
            phases=[
                PhaseRecord(
                    name=phase.name,
                    steps=len(steps),
                    examples=sum(step.examples for step in steps),
                    seconds=seconds[phase.name],
                    conflicts=tally.conflicts() if tally.steps else None,
                    layers=tally.pairs_by_layer(),
                )
                for phase, steps in plan.phases()
                for tally in [sums.phases.get(phase.name, Tally())]
            ],
            losses=sums.losses(),
            utilisation=used.read(),
            classes=self._datamodule.classes_used(plan),
        )


class Usage:
    """Counts how often each example of the training sets, which have these sizes, is used."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._times = {task: np.zeros(size, np.int64) for task, size in sizes.items()}
        self.epochs = 0  # that were counted

    def add(self, plan: Epoch) -> None:
        """Count one epoch more."""
        for task, times in self._times.items():
            times += np.bincount(rows_used(plan.steps, task), minlength=len(times))
        self.epochs += 1

    def read(self) -> dict[str, Utilisation]:
        """Of each task, over the epochs counted."""
        return {
            task: Utilisation(
                examples=int(times.sum()),
                unique=int((times > 0).sum()),
                fraction=float((times > 0).mean()),
            )
            for task, times in self._times.items()
        }


def notes_on(settings: Settings, parts: Assembly) -> list[str]:
    """What a reader has to know about numbers from such data and, if there is any, training."""
    data, plan, notes = parts.data, parts.datamodule, []
    if data.synthetic:
        notes.append(f"data={data.name} is synthetic: no number here is a published one")
    for task, data_sets in data.seen.items():
        notes.append(
            f"the encoder has seen the data of {task} before: its model card names "
            f"{', '.join(data_sets)}"
        )
    if not plan.total_steps:
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
    if settings.data.select is not None:
        notes.append(
            f"data.select={settings.data.select:g}: this share of each dev set chose the best "
            "epoch, and the numbers are of the others"
        )
    elif plan.samples:
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
