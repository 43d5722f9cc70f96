"""Where metrics go besides the run's own files."""

import csv
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from mtl_bert.runs.results import RunFolder

log = logging.getLogger(__name__)

SECONDS = 20  # to wait for the W&B service before going on offline
FLUSH = 1.0  # seconds between two writes of what a W&B run has: what a kill may cost
STEP = "trainer/global_step"  # as Lightning names the step of a row in W&B
METRICS = ("train", "conflict", "utilisation", "time", "answers")


@dataclass(frozen=True)
class RunLabels:
    """What a run is called and can be filtered by.

    Attributes:
        directory: the run's own.
        name: of the run.
        group: of runs that differ in the seed only.
        job_type: the sampler.
        tags: key=value for what people filter by.
        config: the resolved configuration.
        steps: that the run has taken already, if it goes on; what loggers know of later ones is
            taken again.
        wandb_id: of the W&B run that goes on.
    """

    directory: Path
    name: str
    group: str
    job_type: str
    tags: Sequence[str]
    config: dict[str, Any]
    steps: int | None = None
    wandb_id: str | None = None


def csv_logger(labels: RunLabels) -> Logger:
    """``csv/metrics.csv`` in the run's directory."""
    path = RunFolder(labels.directory).csv / "metrics.csv"
    before = _rows_until(labels.steps, path) if path.exists() else []
    path.unlink(missing_ok=True)
    logger = CSVLogger(path.parent, name="", version="")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory .* exists")
        for metrics, step in before:
            logger.log_metrics(metrics, step)
    return logger


def _rows_until(steps: int | None, path: Path) -> list[tuple[dict[str, Tensor | float], int]]:
    """What a CSV file has up to a step."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(row.pop("step")), row) for row in csv.DictReader(file)]
    return [
        ({name: float(value) for name, value in row.items() if value}, step)
        for step, row in rows
        if steps is not None and step <= steps
    ]


@dataclass(frozen=True)
class TensorBoardFiles:
    """``tensorboard/`` in the run's directory."""

    def __post_init__(self) -> None:
        """Check that the package is there, before a run begins."""
        if not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise ValueError(
                "logger=tensorboard: expected the tensorboard package, found none installed; "
                "write pip install 'mtl-bert[tensorboard]'"
            )

    def __call__(self, labels: RunLabels) -> Logger:
        """Open the files of a run."""
        purge = None if labels.steps is None else labels.steps + 1
        return TensorBoardLogger(
            RunFolder(labels.directory).tensorboard, name="", version="", purge_step=purge
        )


@dataclass(frozen=True)
class WandbRuns:
    """A W&B run for each run; without an account, or without the service, an offline one.

    Attributes:
        project: name of the project in W&B.
        mode: auto, online or offline; auto is online with an account.
    """

    project: str
    mode: str = "auto"

    def __post_init__(self) -> None:
        """Check the settings, before a run begins."""
        if self.mode not in ("auto", "online", "offline"):
            raise ValueError(
                f"logger.wandb.mode: expected auto, online or offline, found {self.mode!r}; "
                "write logger.wandb.mode=offline"
            )

    def __call__(self, labels: RunLabels) -> Logger:
        """Start a run."""
        import wandb

        settings: dict[str, Any] = {
            "project": self.project,
            "name": labels.name,
            "group": labels.group,
            "job_type": labels.job_type,
            "tags": list(labels.tags),
            "config": labels.config,
            "dir": str(labels.directory),
            "settings": wandb.Settings(
                init_timeout=SECONDS, silent=True, x_transaction_log_flush_interval=FLUSH
            ),
            "reinit": "finish_previous",
        }
        if labels.wandb_id is not None:
            settings |= {"id": labels.wandb_id, "resume": "allow"}
        try:
            run = wandb.init(**settings, mode=self._wanted_mode())
        except wandb.Error as error:
            # No network, or a key that is not accepted: training must not wait for either.
            first = str(error).splitlines()[0]
            log.warning("no W&B service (%s): this run is kept offline for wandb sync", first)
            run = wandb.init(**settings, mode="offline")
        _define_metrics(run)
        return WandbLogger(experiment=run)

    def _wanted_mode(self) -> Any:
        import wandb

        if self.mode != "auto":
            return self.mode
        chosen = os.environ.get("WANDB_MODE")
        return chosen or ("online" if wandb.login(prompt=False) else "offline")


def _define_metrics(run: Any) -> None:
    """Have W&B draw everything against the optimizer's steps, of which not each has a row.

    The summary of dev scores is the best epoch's, which nobody but us can tell.
    """
    run.define_metric(STEP, hidden=True)
    run.define_metric("progress/*", step_metric=STEP, hidden=True)
    run.define_metric("dev/*", step_metric=STEP, summary="none")
    for group in METRICS:
        run.define_metric(f"{group}/*", step_metric=STEP)


def wandb_logger(loggers: Sequence[Logger]) -> WandbLogger | None:
    """The W&B logger among them, if there is one."""
    return next((one for one in loggers if isinstance(one, WandbLogger)), None)


def wandb_id(loggers: Sequence[Logger]) -> str | None:
    """The W&B run among them, if there is one."""
    logger = wandb_logger(loggers)
    return None if logger is None else str(logger.experiment.id)


@contextmanager
def open_loggers(
    factories: Sequence[Callable[[RunLabels], Logger]], labels: RunLabels
) -> Iterator[list[Logger]]:
    """Open a run's loggers (CSV always among them), and close them with the run.

    Closing a W&B run lets the next job of a multirun start its own.
    """
    makers = [csv_logger, *factories]
    loggers: list[Logger] = []
    status = "failed"
    try:
        loggers.extend(maker(labels) for maker in makers)
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=0 if status == "success" else 1)
