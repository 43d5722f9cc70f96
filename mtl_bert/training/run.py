"""One run, from checked settings to its results, begun anew or gone on with."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from lightning.pytorch import Trainer

from mtl_bert.config.compose import read_settings, sampler_name, saved_settings, settings_yaml
from mtl_bert.config.run_key import identity
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.machine import processes, signals
from mtl_bert.machine.hardware import in_words, resolved
from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint, provenance
from mtl_bert.runs.checkpoint import Position
from mtl_bert.runs.factories import make
from mtl_bert.runs.results import Books, DataRecord, Results
from mtl_bert.runs.summary import print_summary
from mtl_bert.tracking.loggers import RunLabels, open_loggers, wandb_id, wandb_logger
from mtl_bert.tracking.wandb_run import Showing
from mtl_bert.training import resume
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.callbacks.checkpointing import Saving
from mtl_bert.training.callbacks.profiler import StepProfile
from mtl_bert.training.callbacks.progress import RunProgress
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.evaluation import Evaluation
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.utils.files import remove_temporaries, write_text

log = logging.getLogger("mtl_bert")

CONFIG, RESULTS = "config.yaml", "results.json"


def run(settings: Settings, directory: Path) -> None:
    """Carry out a run in its own directory, or go on with the one that is there.

    Raises:
        ConfigError, DataError, ModelError, HubError, FreezeError: before anything is written.
        SystemExit: with ``signals.EXIT_CODE`` when the run was asked to stop.
    """
    settings, count = resolved(settings), settings.processes
    if count > 1 and processes.environment(count) is None:
        if settings.trainer.nodes > 1:
            raise ConfigError(
                f"trainer.nodes: expected 1 where neither torchrun nor Slurm starts the program, "
                f"found {settings.trainer.nodes}; write torchrun --nnodes={settings.trainer.nodes} "
                f"--nproc-per-node={settings.trainer.devices} -m mtl_bert.train"
            )
        processes.spawn(_run_here, (settings.plain(), str(directory)), count)
    else:
        _run_here(settings.plain(), str(directory))


def _run_here(plain: dict[str, Any], place: str) -> None:
    """The run, or this process's part in it."""
    settings, directory = read_settings(plain), Path(place)
    with ExitStack() as stack:
        rank = stack.enter_context(
            processes.joined(settings.processes, settings.trainer.accelerator)
        )
        directory, before = processes.from_first(lambda: _look(settings, directory, stack))
        parts = assemble(settings)
        factories = [make(node) for node in settings.logger.values()]
        make_trainer(settings, directory, [], [])  # refuses a device that is not there
        if before is not None:
            _go_on(before, settings, parts, directory)
        processes.from_first(lambda: _claim(settings, directory, stack))
        _carry_out(settings, directory, parts, factories, before and before.state, rank)


class _Before(NamedTuple):
    """What an earlier process left: the run's settings and its newest checkpoint."""

    settings: Settings
    state: dict[str, Any]


def _look(settings: Settings, directory: Path, stack: ExitStack) -> tuple[Path, _Before | None]:
    """What there is to go on with; None begins anew, also after a stop before any checkpoint."""
    if not (directory / CONFIG).exists():
        return directory, None
    old = saved_settings(directory / CONFIG)
    if settings.epochs <= _finished_epochs(directory):
        raise _taken(directory)
    resume.check_changes(old, settings)
    stack.enter_context(_locked(directory))
    remove_temporaries(directory)
    state = checkpoint.newest(directory)
    if state is None and (directory / RESULTS).exists():
        raise ConfigError(
            f"epochs: expected at most {old.epochs}, as {directory} keeps no checkpoint to go on "
            f"from (it was run with trainer.keep={old.trainer.keep}), found {settings.epochs}; "
            "write hydra.run.dir=ANOTHER"
        )
    return directory, None if state is None else _Before(old, state)


def _finished_epochs(directory: Path) -> int:
    """Epochs of the run that has finished here, before somebody wanted more; 0 if none has."""
    try:
        text = (directory / RESULTS).read_text("utf-8")
    except FileNotFoundError:
        return 0
    return int(json.loads(text)["config"]["epochs"])


def _claim(settings: Settings, directory: Path, stack: ExitStack) -> None:
    """Make the directory the run's own: from here on, things are written."""
    if not (directory / CONFIG).exists():
        directory.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_locked(directory))
        if (directory / CONFIG).exists():  # another process was faster, and has ended
            raise _taken(directory)
    write_text(directory / CONFIG, settings_yaml(settings))


def _go_on(before: _Before, settings: Settings, parts: Assembly, directory: Path) -> None:
    """Bring the parts to where the run was."""
    state, sizes = before.state, parts.datamodule.sizes
    position = Position(*state["position"])
    resume.check_data(parts.datamodule.digest(), state["data"], directory)
    resume.check_epochs(before.settings, settings, position, state["steps"], sizes)
    resume.check_scored(Books.model_validate_json(state["books"]), settings.epochs)
    parts.module.resume(state)
    parts.datamodule.start = position


def _carry_out(
    settings: Settings,
    directory: Path,
    parts: Assembly,
    factories: list[Any],
    state: dict[str, Any] | None,
    rank: int,
) -> None:
    commit = provenance.commit()  # what is on disk may change while the run goes on
    module, datamodule, first = parts.module, parts.datamodule, rank == 0
    recorder = Recorder(directory, parts.corpus.dev, synthetic=parts.data.synthetic)
    with ExitStack() as stack:
        loggers = []
        if first:
            stack.enter_context(_log_file(directory / "train.log"))
            named = labels(settings, parts.data, directory, state)
            loggers = stack.enter_context(open_loggers(factories, named))
            log.info("run in %s", directory)
        if state is not None:
            log.info("going on from epoch %d, step %d", *state["position"])
            books = Books.model_validate_json(state["books"])
            processes.from_first(lambda: recorder.resume(books))
        if first:
            for note in [*notes_of(parts.data), *notes_on(settings, datamodule)]:
                log.info("%s", note)
        digest = datamodule.digest()

        def rest() -> dict[str, Any]:
            """What the next process needs besides the training state."""
            books = recorder.books.model_dump_json()
            return {"books": books, "data": digest, "wandb_id": wandb_id(loggers)}

        saving = Saving(
            directory,
            rest,
            every_steps=settings.trainer.save_every_steps,
            every_minutes=settings.trainer.save_every_minutes,
        )
        progress = RunProgress(
            recorder,
            epochs=settings.epochs,
            validate_every=settings.trainer.validate_every,
            bar=settings.trainer.bar,
        )
        profiles = [StepProfile(directory)] if settings.trainer.profile else []
        device = ""

        def so_far() -> Results:
            return collect(settings, parts, recorder, commit, device)

        wandb_run = wandb_logger(loggers)
        showing = [] if wandb_run is None else [Showing(wandb_run, directory, so_far)]
        callbacks = [recorder, saving, progress, *profiles, *showing] if first else []
        left = settings.epochs - datamodule.start.epoch + 1
        trainer = make_trainer(settings, directory, loggers, callbacks, epochs=left)
        trains = datamodule.total_steps > 0
        if first:
            device = provenance.device_name(trainer.strategy.root_device)
            log.info("%s", in_words(settings, device, packs=module.model.packs))
        stack.enter_context(_stopping(parts, directory, first))
        if (
            recorder.untrained is None
            and state is None
            and (settings.trainer.baseline or not trains)
        ):
            trainer.validate(module, datamodule, verbose=False)
            assert module.evaluation is not None
            recorder.untrained = module.evaluation.scores
        if trains and left > 0:
            trainer.fit(module, datamodule)
        if trains and datamodule.samples:
            conclude(trainer, module, datamodule, recorder, directory)
        if not trains and first:
            assert module.evaluation is not None
            recorder.keep(module, module.evaluation)
        if first:
            results = so_far()
            write_text(directory / RESULTS, results.model_dump_json(indent=2) + "\n")
            for one in showing:
                one.show(results, module.steps)
            checkpoint.prune(directory, settings.trainer.keep)
    if first:
        print_summary(results, directory)


@contextmanager
def _stopping(parts: Assembly, directory: Path, first: bool) -> Iterator[None]:
    """Listen to signals; say how to go on when one has stopped the run."""
    stop = parts.module.stop
    try:
        with stop.listening():
            yield
    except Interrupted:
        if first:
            epoch, step = parts.module.position
            sys.stderr.write(
                f"stopped by {stop.signal or 'a signal elsewhere'} after {step} steps of epoch "
                f"{epoch}; write resume={directory} to go on\n"
            )
        sys.exit(signals.EXIT_CODE)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of a run."""
    lock = FileLock(directory / ".lock", blocking=False)
    try:
        with lock:
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        raise ConfigError(
            f"hydra.run.dir: expected a run that nobody is working on, found another process in "
            f"{directory}; wait for its end or write hydra.run.dir=ANOTHER"
        ) from None


def _taken(directory: Path) -> ConfigError:
    return ConfigError(
        f"hydra.run.dir: expected a new directory or an unfinished run, found a finished run in "
        f"{directory}; write hydra.run.dir=ANOTHER"
    )


def labels(
    settings: Settings, data: DataRecord, directory: Path, state: dict[str, Any] | None = None
) -> RunLabels:
    """The name, group and tags by which loggers let a person find the run."""
    sampler = sampler_name(settings)
    chosen = {
        "sampler": sampler,
        "B": settings.B,
        "B_scale": None if settings.B is None or settings.B_scale == 1 else settings.B_scale,
        "lambda": settings.lambda_,
        "freeze": settings.freeze if "freeze" in settings.sampler else None,
        "bucket": settings.bucket,
        "imbalance": settings.data.imbalance,
    }
    tags = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    title = " ".join([data.name, *tags])
    # What the title leaves out (model, surgery, lr, ...) still tells groups apart.
    repeated = identity(settings.model_copy(update={"seed": 0}))
    return RunLabels(
        directory=directory,
        name=f"{title} seed={settings.seed}",
        group=f"{title[:100]} {repeated[:6]}",  # the service allows 128 characters
        job_type=sampler,
        tags=[
            tag[:64]
            for tag in (*tags, f"seed={settings.seed}", *(["synthetic"] if data.synthetic else []))
        ],
        config=settings.plain(),
        steps=state["steps"] if state else None,
        wandb_id=state["wandb_id"] if state else None,
    )


def notes_of(data: DataRecord) -> list[str]:
    """What a reader has to know about numbers that come from such data."""
    notes = []
    if data.synthetic:
        notes.append(f"data={data.name} is synthetic: no number here is a published one")
    for task, data_sets in data.seen.items():
        notes.append(
            f"the encoder has seen the data of {task} before: its model card names "
            f"{', '.join(data_sets)}"
        )
    return notes


def notes_on(settings: Settings, datamodule: PlanDataModule) -> list[str]:
    """What a reader has to know about numbers that come from such training."""
    notes = []
    if settings.bucket is not None:
        notes.append(
            f"bucket={settings.bucket}: examples of like length share a batch, within "
            f"{settings.bucket} steps; the paper's batches are random"
        )
    if (every := settings.trainer.validate_every) > 1:
        notes.append(
            f"trainer.validate_every={every}: the best epoch is the best of those that were scored"
        )
    if datamodule.samples:
        chosen = [
            f"{sample:,} of the {datamodule.dev_sizes[task]:,} of {task}"
            for task, sample in datamodule.sample_sizes.items()
            if sample < datamodule.dev_sizes[task]
        ]
        notes.append(
            f"trainer.dev_sample={settings.trainer.dev_sample}: the best epoch is chosen on a "
            f"sample of dev examples ({', '.join(chosen)}); its scores and the last epoch's are of "
            "all"
        )
    return notes


def collect(
    settings: Settings,
    parts: Assembly,
    recorder: Recorder,
    commit: str | None,
    device: str,
) -> Results:
    """Gather what a finished run has to say."""
    datamodule, module, (best, last) = parts.datamodule, parts.module, recorder.reported
    notes = [*notes_of(parts.data), *(notes_on(settings, datamodule) if recorder.epochs else ())]
    notes += recorder.remarks
    if module.skipped:
        notes.append(f"{len(module.skipped)} steps were skipped: not all was finite")
    seconds = [epoch.seconds for epoch in recorder.epochs]
    return Results(
        config=settings.plain(),
        seed=settings.seed,
        commit=commit,
        device=device,
        versions=provenance.versions(),
        data=parts.data,
        encoder=parts.encoder,
        score=best.score,
        tasks=best.tasks,
        best_epoch=best.epoch,
        last_epoch=last.epoch,
        last=last,
        untrained=recorder.untrained,
        utilisation=recorder.utilisation(datamodule),
        minutes_per_epoch=sum(seconds) / max(1, len(seconds)) / 60,
        epochs=recorder.epochs,
        skipped=module.skipped,
        overflows=module.overflows,
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
        if processes.in_any(bool(module.stop)):
            raise Interrupted
        module.loaded_epoch = epoch
        trainer.validate(module, datamodule, verbose=False)
        assert module.evaluation is not None
        return module.evaluation

    def chosen() -> tuple[int, int]:
        assert recorder.best is not None
        return recorder.best.epoch, recorder.epochs[-1].epoch

    best_epoch, last_epoch = processes.from_first(chosen)
    best = last = scored(last_epoch)
    if best_epoch != last_epoch:
        place = directory / checkpoint.DIRECTORY / checkpoint.BEST
        module.load_state_dict(processes.from_first(lambda: checkpoint.read(place)["state_dict"]))
        best = scored(best_epoch)
    if trainer.is_global_zero:
        recorder.conclude(best, last)
