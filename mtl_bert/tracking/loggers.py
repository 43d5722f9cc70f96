"""Where metrics go besides the run's own files: CSV, TensorBoard, W&B."""

import csv
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from mtl_bert.config.compose import sampler_keys
from mtl_bert.config.run_key import identity
from mtl_bert.config.settings import Settings
from mtl_bert.runs.answers import UnusableError
from mtl_bert.runs.results import DataRecord, Results, RunFolder
from mtl_bert.utils.errors import first_line

log = logging.getLogger(__name__)

SECONDS = 20  # to wait for the W&B service before going on offline
FLUSH = 1.0  # seconds between two writes of what a W&B run has: what a kill may cost
STEP = "trainer/global_step"  # as Lightning names the step of a row in W&B
METRICS = ("train", "conflict", "utilisation", "time", "answers")


@dataclass(frozen=True)
class RunLabels:
    """What a run is called and can be filtered by."""

    directory: Path  # the run's own
    name: str
    group: str  # of runs that differ in the seed only
    job_type: str  # the sampler
    tags: Sequence[str]  # key=value for what people filter by
    config: dict[str, Any]  # the resolved configuration
    steps: int | None = None  # that a run has taken which goes on: later ones are taken again
    wandb_id: str | None = None  # of the W&B run that goes on


def run_labels(
    settings: Settings, data: DataRecord, directory: Path, state: Mapping[str, Any] | None = None
) -> RunLabels:
    """What loggers call a run on some data; ``state`` is the checkpoint that it goes on from."""
    scaled = settings.B is not None and settings.B_scale != 1
    frozen = "freeze" in sampler_keys(settings.sampler)
    chosen = {
        "sampler": settings.sampler["name"], "B": settings.B,
        "B_scale": settings.B_scale if scaled else None, "lambda": settings.lambda_,
        "freeze": settings.freeze if frozen else None,
        "group_by_length": settings.group_by_length, "imbalance": settings.data.imbalance,
        "adapter": None if settings.model.adapter == "none" else settings.model.adapter,
    }  # fmt: skip
    tags = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    title, seed = " ".join([data.name, *tags]), f"seed={settings.seed}"
    # What the title leaves out (model, surgery, lr, ...) still tells groups apart.
    seedless = identity(settings.model_copy(update={"seed": 0}))
    return RunLabels(
        directory, f"{title} {seed}", job_type=settings.sampler["name"],
        group=f"{title[:100]} {seedless[:6]}",  # the service allows 128 characters
        tags=[tag[:64] for tag in (*tags, seed, *(["synthetic"] if data.synthetic else []))],
        config=settings.config(), steps=state["steps"] if state else None,
        wandb_id=state["wandb_id"] if state else None,
    )  # fmt: skip


def csv_logger(labels: RunLabels) -> Logger:
    """``csv/metrics.csv`` in the run's directory, with what it has up to the step to go on from."""
    path, before = RunFolder(labels.directory).csv / "metrics.csv", list[dict[str, Any]]()
    if labels.steps is not None and path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            whole = [line for line in file if line.endswith("\n")]  # a killed process leaves half
        for row in csv.DictReader(whole):
            before.append({name: float(n) for name, n in row.items() if n})
    path.unlink(missing_ok=True)  # Lightning would, too, and warn
    logger = CSVLogger(path.parent, name="", version="")
    for numbers in before:
        step = int(numbers.pop("step"))
        if labels.steps is not None and step <= labels.steps:
            logger.log_metrics(numbers, step)
    return logger


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
        place = RunFolder(labels.directory).tensorboard
        purge = None if labels.steps is None else labels.steps + 1
        return TensorBoardLogger(place, name="", version="", purge_step=purge)


@dataclass(frozen=True)
class WandbRuns:
    """A W&B run for each run; without an account, or without the service, an offline one."""

    project: str  # its name in W&B
    mode: str = "auto"  # auto, online or offline; auto is online with an account

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
            "project": self.project, "name": labels.name, "group": labels.group,
            "job_type": labels.job_type, "tags": list(labels.tags), "config": labels.config,
            "dir": str(labels.directory), "id": labels.wandb_id, "reinit": "finish_previous",
            "resume": "allow", "settings": wandb.Settings(
                init_timeout=SECONDS, silent=True, x_transaction_log_flush_interval=FLUSH
            ),
        }  # fmt: skip
        mode: Any = os.environ.get("WANDB_MODE") if self.mode == "auto" else self.mode
        try:
            mode = mode or ("online" if wandb.login(prompt=False) else "offline")
            run = wandb.init(**settings, mode=mode)
        except wandb.Error as error:
            # No network, or a key that is not accepted: training must not wait for either.
            log.warning(
                "no W&B service (%s): this run is kept offline for wandb sync", first_line(error)
            )
            run = wandb.init(**settings, mode="offline")
        # Curves go by the optimizer's steps, of which not each has a row. The summary of dev scores
        # is the best epoch's, which nobody but us can tell.
        run.define_metric(STEP, hidden=True)
        run.define_metric("progress/*", step_metric=STEP, hidden=True)
        run.define_metric("dev/*", step_metric=STEP, summary="none")
        for group in METRICS:
            run.define_metric(f"{group}/*", step_metric=STEP)
        return WandbLogger(experiment=run)


def wandb_logger(loggers: Sequence[Logger]) -> WandbLogger | None:
    """The W&B logger among them, if there is one."""
    return next((one for one in loggers if isinstance(one, WandbLogger)), None)


@contextmanager
def open_loggers(
    factories: Sequence[Callable[[RunLabels], Logger]], labels: RunLabels
) -> Iterator[list[Logger]]:
    """Open a run's loggers (CSV always among them), and close them with the run.

    Closing a W&B run lets the next job of a multirun start its own.
    """
    loggers, status = list[Logger](), "failed"
    try:
        loggers.extend(maker(labels) for maker in (csv_logger, *factories))
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=0 if status == "success" else 1)


def answers(directory: Path, results: Results) -> dict[str, Any]:
    """The report's figures of the best epoch's answers, as images, and its mistakes, as tables."""
    # Drawing takes seconds to import, and runs without W&B have no use for it.
    import wandb
    from PIL import Image

    from mtl_bert.analysis import figures, publishing, run_view
    from mtl_bert.analysis.frames import of_results

    frames, shown = of_results(results, directory), dict[str, Any]()
    about = frames.settings["about"].iloc[0]
    for score in frames.scores.to_dict("records"):
        task = score["task"]
        with suppress(UnusableError):
            chart = figures.answers(frames, score["run"], task).to_dict()
            wrong = run_view.mistakes(frames, score, run_view.WORST)
            image = Image.open(io.BytesIO(publishing.picture(chart, "png")))
            shown[f"answers/chart/{task}"] = wandb.Image(image, caption=about)
            told = {"label": wrong["right"], "prediction": wrong["told"], "subject": about}
            table = wrong.assign(**told).drop(columns=["run", "confidence", "right", "told"])
            if len(table):
                shown[f"answers/mistakes/{task}"] = wandb.Table(dataframe=table)
    return shown
