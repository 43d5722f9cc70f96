"""When a run's state is written: every so often, after every epoch, and when it has to stop."""

import time
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint
from mtl_bert.runs.checkpoint import Position
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.divergence import DivergedError


class Checkpointing(Callback):
    """Writes ``last.ckpt``.

    Args:
        recorder: knows the run so far.
        wandb_id: of the W&B run that goes on with this one, or None.
        every_steps: steps between two checkpoints, or None.
        every_minutes: minutes between two checkpoints, or None.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        wandb_id: str | None,
        every_steps: int | None,
        every_minutes: float | None,
    ) -> None:
        self._recorder, self._module = recorder, recorder.parts.module
        # The training sets may not change before the run goes on.
        self._constant = {"data": recorder.parts.datamodule.digest(), "wandb_id": wandb_id}
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save if it is time to, or the last chance."""
        steps, minutes = self._every_steps, self._every_minutes
        due = steps is not None and self._module.steps % steps == 0
        due |= minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        if self._module.stopping or due:
            self._save(trainer, self._module.position)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the start of the next epoch; the dev sets have been scored, where they are."""
        self._save(trainer, Position(self._module.position.epoch + 1))

    def on_exception(self, trainer: Trainer, module: Any, exception: BaseException) -> None:
        """Save what a run was before it diverged, or when it was stopped in a validation."""
        wanted = Interrupted if trainer.validating else DivergedError
        if trainer.state.fn == TrainerFn.FITTING and isinstance(exception, wanted):
            self._save(trainer, self._module.position)

    def _save(self, trainer: Trainer, position: Position) -> None:
        for logger in trainer.loggers:
            logger.save()
        run_state = {"run_state": self._recorder.state.model_dump_json()}
        content = self._module.training_state(position) | run_state | self._constant
        checkpoint.write_last(self._recorder.folder, self._recorder.key, content)
        self._saved = time.monotonic()
