"""After which epochs the dev sets are scored."""

from lightning.pytorch import Callback, LightningModule, Trainer

from mtl_bert.training.datamodule import datamodule_of


class Validating(Callback):
    """Has Lightning validate after every so many epochs of the run, and after its last.

    Lightning's own setting counts the epochs from where a run was resumed.

    Args:
        every: epochs from one validation to the next.
        epochs: of the whole run.
    """

    def __init__(self, every: int, epochs: int) -> None:
        self._every, self._epochs = every, epochs

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Say whether there is a validation after this epoch."""
        epoch = datamodule_of(trainer).epoch
        trainer.limit_val_batches = 1.0 if is_scored(epoch, self._every, self._epochs) else 0


def is_scored(epoch: int, every: int, epochs: int) -> bool:
    """Whether the dev sets are scored after an epoch."""
    return epoch % every == 0 or epoch == epochs
