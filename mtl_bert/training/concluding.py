"""A run's end: what samples of the dev sets chose is scored on the whole dev sets."""

from pathlib import Path

from lightning.pytorch import Trainer

from mtl_bert import launching
from mtl_bert.interruption import Interrupted
from mtl_bert.training import checkpoint
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.evaluation import Evaluation
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.training.recorder import Recorder


def conclude(
    trainer: Trainer,
    module: MultiTaskModule,
    datamodule: PlanDataModule,
    recorder: Recorder,
    directory: Path,
) -> None:
    """Score the last epoch's model and the best one's on the whole dev sets.

    Args:
        trainer: that has trained.
        module: with the last epoch's weights; the best one's afterwards.
        datamodule: of both.
        recorder: knows, in the first process, which epoch is best.
        directory: the run's.

    Raises:
        Interrupted: somebody asked some process to stop.
    """

    def scored(epoch: int) -> Evaluation:
        if launching.in_any(bool(module.stop)):
            raise Interrupted
        module.loaded_epoch = epoch
        trainer.validate(module, datamodule, verbose=False)
        assert module.evaluation is not None
        return module.evaluation

    def chosen() -> tuple[int, int]:
        assert recorder.best is not None
        return recorder.best.epoch, recorder.epochs[-1].epoch

    best_epoch, last_epoch = launching.from_first(chosen)
    best = last = scored(last_epoch)
    if best_epoch != last_epoch:
        place = directory / checkpoint.DIRECTORY / checkpoint.BEST
        module.load_state_dict(launching.from_first(lambda: checkpoint.read(place)["state_dict"]))
        best = scored(best_epoch)
    if trainer.is_global_zero:
        recorder.conclude(best, last)
