"""What W&B shows of a run besides its curves: the best epoch's scores, figures and mistakes."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger

from mtl_bert.runs.results import Results
from mtl_bert.training.module import MultiTaskModule


class Showing(Callback):
    """Keeps W&B up to date about the best epoch, so that a killed run has it too.

    Args:
        logger: of the W&B run.
        directory: the run's, with the best epoch's predictions.
        results: of the run so far.
    """

    def __init__(
        self, logger: WandbLogger, directory: Path, results: Callable[[], Results]
    ) -> None:
        self._logger, self._directory, self._results = logger, directory, results
        self._shown: int | None = None

    def on_train_epoch_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Show the epoch, if it was scored; its books are closed and its predictions written."""
        if module.evaluation is not None:
            results = self._results()
            # Of a sample nobody wants to see answers: those of the whole dev sets come at the end.
            self.show(results, module.steps, with_answers=results.dev_sample is None)

    def show(self, results: Results, steps: int, *, with_answers: bool = True) -> None:
        """Bring the summary up to date, and the answers if there is a new best epoch."""
        if with_answers and results.best_epoch != self._shown:
            self._logger.log_metrics(answers(self._directory, results), step=steps)
            self._shown = results.best_epoch
        self._logger.experiment.summary.update(summary(results))


def summary(results: Results) -> dict[str, float]:
    """What W&B's tables of runs show: the best epoch's scores, the last one's beside them."""
    best = {f"dev/{task}/{score.metric}": score.value for task, score in results.tasks.items()}
    last = {f"last/{task}/{s.metric}": s.value for task, s in results.last.tasks.items()}
    return {
        "score": results.score,
        "best_epoch": results.best_epoch,
        "dev/examples": sum(score.n for score in results.tasks.values()),
        "dev/score": results.score,
        **best,
        "last/epoch": results.last_epoch,
        "last/score": results.last.score,
        **last,
        "minutes_per_epoch": results.minutes_per_epoch,
    }


def answers(directory: Path, results: Results) -> dict[str, Any]:
    """The report's figures of the best epoch's answers, as images, and its mistakes, as tables."""
    # Drawing takes seconds to import, and runs without W&B have no use for it.
    import wandb
    from PIL import Image

    from mtl_bert.analysis.document import Figure, Table
    from mtl_bert.analysis.predictions import answer_blocks
    from mtl_bert.analysis.run_files import Classes, Run
    from mtl_bert.analysis.studies import studies

    run = Run(directory, directory.name, results)
    (study,) = studies([run])
    shown: dict[str, Any] = {}
    for task in study.tasks:
        what = "confusion" if isinstance(run.head(task), Classes) else "scatter"
        for block in answer_blocks(study, run, task, task):
            if isinstance(block, Figure):
                image = Image.open(io.BytesIO(block.png))
                shown[f"answers/{what}/{task}"] = wandb.Image(image, caption=block.description)
            elif isinstance(block, Table) and block.records:
                columns: list[str | int] = list(block.records[0])
                rows: list[Iterable[Any]] = [list(record.values()) for record in block.records]
                shown[f"answers/mistakes/{task}"] = wandb.Table(columns=columns, data=rows)
    return shown
