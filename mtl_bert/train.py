"""Train: ``python -m mtl_bert.train sampler=arrp lambda=0.5 B=24000`` (``--help`` for more)."""

import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from mtl_bert import cli
from mtl_bert.config import make, read_settings, sampler_name
from mtl_bert.reporting.results import DataRecord, Results, Scores
from mtl_bert.settings import ConfigError, Settings, setting_names

if TYPE_CHECKING:
    import torch

    from mtl_bert.assembly import Assembly
    from mtl_bert.training.loggers import RunLabels
    from mtl_bert.training.recorder import Recorder

log = logging.getLogger("mtl_bert")

CONFIG = "config.yaml"


def main() -> None:
    """The command."""
    cli.run(
        "train",
        lambda config, directory: run(read_settings(config), directory),
        keys=setting_names(),
    )


def run(settings: Settings, directory: Path) -> None:
    """Carry out one run in its own directory and print what it reached.

    Raises:
        ConfigError, DataError, ModelError, HubError, FreezeError: before anything is written.
    """
    # Torch takes seconds to import: settings that are wrong are refused before that.
    from mtl_bert.assembly import assemble, make_trainer
    from mtl_bert.files import write_text
    from mtl_bert.reporting.summary import print_summary
    from mtl_bert.training import provenance
    from mtl_bert.training.loggers import open_loggers
    from mtl_bert.training.progress import progress_callbacks
    from mtl_bert.training.recorder import Recorder

    if (directory / CONFIG).exists():
        raise _taken(directory)
    parts = assemble(settings)
    factories = [make(node) for node in settings.logger.values()]
    make_trainer(settings, directory, [], [])  # refuses a device that is not there

    commit = provenance.commit()  # what is on disk may change while the run goes on
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with (directory / CONFIG).open("x", encoding="utf-8") as file:  # the first run wins
            file.write(OmegaConf.to_yaml(settings.plain()))
    except FileExistsError:
        raise _taken(directory) from None
    recorder = Recorder(directory, parts.corpus.dev, synthetic=parts.data.synthetic)
    bar = sys.stderr.isatty() if settings.trainer.bar is None else settings.trainer.bar
    with (
        _log_file(directory / "train.log"),
        open_loggers(factories, labels(settings, parts.data, directory)) as loggers,
    ):
        log.info("run in %s", directory)
        if parts.data.synthetic:
            log.info("data=%s is synthetic: no number here is a published one", parts.data.name)
        shown = progress_callbacks(bar, parts.data.synthetic)
        trainer = make_trainer(settings, directory, loggers, [recorder, *shown])
        trains = parts.datamodule.total_steps > 0
        if settings.trainer.baseline or not trains:
            trainer.validate(parts.module, parts.datamodule, verbose=False)
            recorder.untrained = parts.module.evaluation
        if trains:
            trainer.fit(parts.module, parts.datamodule)
        else:
            assert recorder.untrained is not None
            recorder.keep(trainer, recorder.untrained)
            recorder.save_last(trainer)
        results = collect(settings, parts, recorder, commit, trainer.strategy.root_device)
        write_text(directory / "results.json", results.model_dump_json(indent=2) + "\n")
    print_summary(results, directory)


def _taken(directory: Path) -> ConfigError:
    return ConfigError(
        f"hydra.run.dir: expected a new directory, found a run in {directory}; "
        "write hydra.run.dir=ANOTHER"
    )


def labels(settings: Settings, data: DataRecord, directory: Path) -> "RunLabels":
    """The name, group and tags by which loggers let a person find the run."""
    from mtl_bert.training.loggers import RunLabels

    sampler = sampler_name(settings)
    chosen = {
        "sampler": sampler,
        "B": settings.B,
        "lambda": settings.lambda_,
        "freeze": settings.freeze if "freeze" in settings.sampler else None,
    }
    tags = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    title = " ".join([data.name, *tags])
    # What the title leaves out (model, surgery, lr, ...) still tells groups apart.
    differing = ("seed", "logger", "trainer")
    same = {key: value for key, value in settings.plain().items() if key not in differing}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:6]
    return RunLabels(
        directory=directory,
        name=f"{title} seed={settings.seed}",
        group=f"{title[:100]} {digest}",  # the service allows 128 characters
        job_type=sampler,
        tags=[
            tag[:64]
            for tag in (*tags, f"seed={settings.seed}", *(["synthetic"] if data.synthetic else []))
        ],
        config=settings.plain(),
    )


def collect(
    settings: Settings,
    parts: "Assembly",
    recorder: "Recorder",
    commit: str | None,
    device: "torch.device",
) -> Results:
    """Gather what a finished run has to say."""
    from mtl_bert.training import provenance

    assert recorder.best is not None
    untrained = recorder.untrained.scores if recorder.untrained else None
    last = recorder.epochs[-1] if recorder.epochs else recorder.best
    notes = list(recorder.remarks)
    if parts.data.synthetic:
        notes.insert(0, f"data={parts.data.name} is synthetic: no number here is a published one")
    seconds = [epoch.seconds for epoch in recorder.epochs]
    return Results(
        config=settings.plain(),
        seed=settings.seed,
        commit=commit,
        device=provenance.device_name(device),
        versions=provenance.versions(),
        data=parts.data,
        encoder=parts.encoder,
        score=recorder.best.score,
        tasks=recorder.best.tasks,
        best_epoch=recorder.best.epoch,
        last_epoch=last.epoch,
        last=Scores(epoch=last.epoch, score=last.score, tasks=last.tasks),
        untrained=untrained,
        utilisation=recorder.utilisation(parts.datamodule.sizes),
        minutes_per_epoch=sum(seconds) / max(1, len(seconds)) / 60,
        epochs=recorder.epochs,
        notes=notes,
        finished=datetime.now(UTC),
    )


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Keep the messages of a run in a file of its own."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


if __name__ == "__main__":
    main()
