"""What a person sees while a run trains: a bar per epoch, or a line per epoch."""

import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from tqdm import tqdm

from mtl_bert.data.collate import StepBatch
from mtl_bert.training.module import MultiTaskModule


class PhaseBar(TQDMProgressBar):
    """One bar per epoch, its total over all phases, with the phase's name and the losses.

    Args:
        epochs: of the whole run.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__(refresh_rate=20)
        self._epochs, self._phase = epochs, ""

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: StepBatch, batch_idx: int
    ) -> None:
        """Name the phase."""
        super().on_train_batch_start(trainer, module, batch, batch_idx)
        if batch.phase.name != self._phase or batch_idx == 0:
            self._phase = batch.phase.name
            what = f"epoch {batch.epoch}/{self._epochs} {self._phase}"
            self.train_progress_bar.set_description(what)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        module: LightningModule,
        batch: StepBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Name what is going on."""
        super().on_validation_batch_start(trainer, module, batch, batch_idx, dataloader_idx)
        self.val_progress_bar.set_description("dev sets")

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, str]:  # type: ignore[override]
        """The epoch's mean loss of each task so far."""
        assert isinstance(module, MultiTaskModule)
        return {task: f"{value:.3f}" for task, value in module.losses.epoch().items()}


class EpochLines(Callback):
    """One line after each epoch, under the bar or instead of it.

    Args:
        epochs: of the whole run.
        synthetic: whether the numbers come from made-up text, which each line then says.
    """

    def __init__(self, epochs: int, synthetic: bool) -> None:
        self._epochs = epochs
        self._remark = "  (synthetic text)" if synthetic else ""

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Say what the epoch reached: scores, or losses where the dev sets were not scored."""
        assert isinstance(module, MultiTaskModule)
        parts = [f"epoch {module.position.epoch}/{self._epochs}"]
        if module.evaluation is None:
            parts.append("not scored")
            parts += [f"{name} loss {x:.3f}" for name, x in module.losses.epoch().items()]
        else:
            scores = module.evaluation.scores
            parts.append(f"score {scores.score:.3f}")
            parts += [f"{name} {t.metric} {t.value:.3f}" for name, t in scores.tasks.items()]
        tqdm.write(f"{'  '.join(parts)}{self._remark}", file=sys.stderr)


def bar_wanted(bar: bool | None) -> bool:
    """What ``trainer.bar`` says, None being: where stderr is a terminal."""
    return sys.stderr.isatty() if bar is None else bar


def progress_callbacks(show_bar: bool, epochs: int, synthetic: bool) -> list[Callback]:
    """The bar where wanted, and the lines in any case."""
    lines = EpochLines(epochs, synthetic)
    return [PhaseBar(epochs), lines] if show_bar else [lines]
