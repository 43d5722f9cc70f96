"""Keep W&B up to date about the best epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger

from mtl_bert.runs.results import Results, named
from mtl_bert.tracking.loggers import answers


@dataclass(eq=False)
class WandbCallback(Callback):
    """Keeps W&B up to date about the best epoch, so that a killed run has it too."""

    logger: WandbLogger
    directory: Path  # has the best epoch's predictions
    results: Callable[[], Results]  # the run's so far
    shown: int | None = None  # the epoch whose answers W&B has

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Show the epoch, if it was scored; it is recorded and its predictions written."""
        if module.evaluation is not None:
            results = self.results()
            # Of a sample nobody wants to see answers: those of the whole dev sets come at the end.
            self.show(results, module.steps, with_answers=results.dev_sample is None)

    def show(self, results: Results, steps: int, *, with_answers: bool = True) -> None:
        """Bring the summary up to date, and the answers if there is a new best epoch.

        W&B's tables of runs show the summary: the best epoch's scores, the last one's beside them.
        """
        if with_answers and results.best_epoch != self.shown:
            self.logger.log_metrics(answers(self.directory, results), step=steps)
            self.shown = results.best_epoch
        self.logger.experiment.summary.update({
            "score": results.score, "best_epoch": results.best_epoch,
            "last/epoch": results.last_epoch, "minutes_per_epoch": results.minutes_per_epoch,
            "dev/examples": sum(score.n for score in results.tasks.values()),
            **named(results, "dev"), **named(results.last, "last"),
        })  # fmt: skip
