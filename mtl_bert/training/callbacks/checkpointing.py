"""When a run's state is written: every so often, after every epoch, and when it has to stop."""

import time
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.data.batch import Batch
from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint
from mtl_bert.runs.checkpoint import Position
from mtl_bert.runs.results import RunFolder
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.divergence import DivergedError
from mtl_bert.training.module import MultiTaskModule


class Checkpointing(Callback):
    """Writes ``last.ckpt``.

    Args:
        folder: of the run.
        recorder: knows the run so far.
        training_sets: digest of the training sets, which may not change before the run goes on.
        wandb_id: of the W&B run that goes on with this one, or None.
        every_steps: steps between two checkpoints, or None.
        every_minutes: minutes between two checkpoints, or None.
    """

    def __init__(
        self,
        folder: RunFolder,
        recorder: Recorder,
        *,
        training_sets: str,
        wandb_id: str | None,
        every_steps: int | None,
        every_minutes: float | None,
    ) -> None:
        self._folder, self._recorder = folder, recorder
        self._constant = {"data": training_sets, "wandb_id": wandb_id}
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._saved = time.monotonic()

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        outputs: Any,
        batch: PlanStep[Batch],
        batch_idx: int,
    ) -> None:
        """Save if it is time to, or the last chance."""
        if module.stopping or self._due(module.steps):
            self._save(trainer, module, module.position)

    def on_train_epoch_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Save the start of the next epoch; the dev sets have been scored, where they are."""
        self._save(trainer, module, Position(module.position.epoch + 1))

    def on_exception(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, exception: BaseException
    ) -> None:
        """Save what a run was before it diverged, or when it was stopped in a validation."""
        wanted = Interrupted if trainer.validating else DivergedError
        if trainer.state.fn == TrainerFn.FITTING and isinstance(exception, wanted):
            self._save(trainer, module, module.position)

    def _due(self, steps: int) -> bool:
        if self._every_steps is not None and steps % self._every_steps == 0:
            return True
        minutes = (time.monotonic() - self._saved) / 60
        return self._every_minutes is not None and minutes >= self._every_minutes

    def _save(self, trainer: Trainer, module: MultiTaskModule, position: Position) -> None:
        for logger in trainer.loggers:
            logger.save()
        run_state = {"run_state": self._recorder.state.model_dump_json()}
        content = module.training_state(position) | run_state | self._constant
        checkpoint.write_last(self._folder, content)
        self._saved = time.monotonic()
