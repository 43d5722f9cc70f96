"""The life of a run: its folder is opened or created, it is built, trained, scored and recorded."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch import Trainer

from mtl_bert.config.command_line import assignment
from mtl_bert.config.compose import saved_settings, settings_yaml
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.machine import processes, signals
from mtl_bert.machine.hardware import in_words, resolved
from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint, provenance
from mtl_bert.runs.factories import make
from mtl_bert.runs.results import RunFolder, RunState
from mtl_bert.runs.summary import print_summary
from mtl_bert.tracking.loggers import WandbCallback, open_loggers, run_labels, wandb_logger
from mtl_bert.training import resume
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.callbacks.checkpointing import Checkpointing
from mtl_bert.training.callbacks.profiler import StepProfile
from mtl_bert.training.callbacks.progress import RunProgress
from mtl_bert.training.callbacks.recorder import Recorder, notes_on
from mtl_bert.training.evaluation import Evaluation
from mtl_bert.utils.files import remove_temporaries, write_text
from mtl_bert.utils.logging import messages_kept_in

log = logging.getLogger("mtl_bert")


def run(settings: Settings, directory: Path) -> Path:
    """Carry out a run in its own folder, or go on with the one that is there.

    Returns:
        The folder, for :meth:`mtl_bert.runs.opened.Run.open`.

    Raises:
        ConfigError, DataError, ModelError, HubError, FreezeError: before anything is written.
        SystemExit: with ``signals.EXIT_CODE`` when the run was asked to stop.
    """
    settings = resolved(settings)
    count, devices, nodes = settings.processes, settings.trainer.devices, settings.trainer.num_nodes
    if count == 1 or processes.environment(count) is not None:
        _train(settings, directory)
    elif nodes == 1:
        processes.spawn(_train, (settings, directory), count)
    else:
        raise ConfigError(
            "trainer.num_nodes: expected 1 where neither torchrun nor Slurm starts the program, "
            f"found {nodes}; write torchrun --nnodes={nodes} --nproc-per-node={devices} "
            "-m mtl_bert.train"
        )
    return directory


def _train(settings: Settings, directory: Path) -> None:
    """Carry out the run, or this process's part in it."""
    folder, trainer_settings = RunFolder(directory), settings.trainer
    with ExitStack() as stack:
        joined = processes.joined(settings.processes, trainer_settings.accelerator)
        first = stack.enter_context(joined) == 0  # the process that reads and writes the folder
        old, state = processes.from_first(lambda: _open(folder, settings, stack))
        parts = assemble(settings)
        logger_factories = [make(node, f"logger.{name}") for name, node in settings.logger.items()]
        make_trainer(settings, directory)  # refuses a device that is not there
        if state is not None:
            resume.restore(parts, old, settings, state, directory)
        processes.from_first(lambda: _claim(folder, settings, stack))

        recorder = Recorder(folder, settings, parts)
        loggers = []
        if first:
            stack.enter_context(messages_kept_in(folder.log))
            labels = run_labels(settings, parts.data, directory, state)
            loggers = stack.enter_context(open_loggers(logger_factories, labels))
            log.info("run in %s", directory)
            if state is not None:
                log.info("going on from epoch %d, step %d", *state["position"])
        if state is not None:
            run_state = RunState.model_validate_json(state["run_state"])
            processes.from_first(lambda: recorder.resume(run_state))
        if first:
            for note in notes_on(settings, parts, trained=True):
                log.info("%s", note)

        module, datamodule = parts.module, parts.datamodule
        wandb_run = wandb_logger(loggers)
        checkpointing = Checkpointing(
            recorder,
            wandb_id=None if wandb_run is None else str(wandb_run.experiment.id),
            every_steps=trainer_settings.save_steps,
            every_minutes=trainer_settings.save_minutes,
        )
        progress = RunProgress(
            recorder,
            epochs=settings.epochs,
            validate_every=trainer_settings.check_val_every_n_epoch,
            bar=trainer_settings.enable_progress_bar,
        )
        profiles = [StepProfile(folder.profile)] if trainer_settings.profile else []
        wandb = [] if wandb_run is None else [WandbCallback(wandb_run, directory, recorder.results)]
        callbacks = [recorder, checkpointing, progress, *profiles, *wandb] if first else []
        epochs_left = settings.epochs - datamodule.start.epoch + 1
        trainer = make_trainer(settings, directory, loggers, callbacks, epochs=epochs_left)
        if first:
            recorder.device = provenance.device_name(trainer.strategy.root_device)
            log.info("%s", in_words(settings, recorder.device, packs=module.model.packs))

        trains = datamodule.total_steps > 0
        with _stopping_when_asked(parts, directory, first):
            if state is None and (trainer_settings.baseline or not trains):
                trainer.validate(module, datamodule, verbose=False)
                assert module.evaluation is not None
                recorder.untrained = module.evaluation.scores
                if first and not trains:
                    recorder.keep_best(module.evaluation)
            if trains and epochs_left > 0:
                trainer.fit(module, datamodule)
            if trains and datamodule.samples:
                _final_evaluation(trainer, parts, recorder, folder)
            if first:
                results = recorder.results()
                write_text(folder.results, results.model_dump_json(indent=2) + "\n")
                for callback in wandb:
                    callback.show(results, module.steps)
                checkpoint.prune(folder, trainer_settings.keep)
    if first:
        print_summary(results, directory)


# The folder: what an earlier process left in it, and keeping other processes out.


def _open(
    folder: RunFolder, settings: Settings, stack: ExitStack
) -> tuple[Settings, dict[str, Any] | None]:
    """The run's settings so far, and the checkpoint to go on from.

    None begins anew, also after a stop before any checkpoint.

    Raises:
        ConfigError: the folder holds a finished run, or one that these settings do not go on with.
    """
    if not folder.config.exists():
        return settings, None
    old = saved_settings(folder.config)
    if folder.results.exists():  # somebody may want more epochs than it had
        finished = json.loads(folder.results.read_text("utf-8"))
        if settings.epochs <= finished["config"]["epochs"]:
            raise _taken(folder)
    resume.check_changes(old, settings)
    stack.enter_context(_locked(folder))
    remove_temporaries(folder.path)
    state = checkpoint.newest(folder)
    if state is None and folder.results.exists():
        raise ConfigError(
            f"epochs: expected at most {old.epochs}, as {folder.path} keeps no checkpoint to go on "
            f"from (it was run with trainer.keep={old.trainer.keep}), found {settings.epochs}; "
            "write hydra.run.dir=ANOTHER"
        )
    return old, state


def _claim(folder: RunFolder, settings: Settings, stack: ExitStack) -> None:
    """Make the folder the run's own: from here on, things are written."""
    if not folder.config.exists():
        folder.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_locked(folder))
        if folder.config.exists():  # another process was faster, and has ended
            raise _taken(folder)
    write_text(folder.config, settings_yaml(settings))


@contextmanager
def _locked(folder: RunFolder) -> Iterator[None]:
    """Keep other processes out of a run."""
    try:
        with FileLock(folder.lock, blocking=False):
            try:
                yield
            finally:
                folder.lock.unlink(missing_ok=True)
    except Timeout:
        raise ConfigError(
            f"hydra.run.dir: expected a run that nobody is working on, found another process in "
            f"{folder.path}; wait for its end or write hydra.run.dir=ANOTHER"
        ) from None


def _taken(folder: RunFolder) -> ConfigError:
    return ConfigError(
        f"hydra.run.dir: expected a new directory or an unfinished run, found a finished run in "
        f"{folder.path}; write hydra.run.dir=ANOTHER"
    )


@contextmanager
def _stopping_when_asked(parts: Assembly, directory: Path, first: bool) -> Iterator[None]:
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
                f"{epoch}; write {assignment('resume', directory)} to go on\n"
            )
        sys.exit(signals.EXIT_CODE)


def _final_evaluation(
    trainer: Trainer, parts: Assembly, recorder: Recorder, folder: RunFolder
) -> None:
    """Score the last epoch's model and the best one's on the whole dev sets.

    The module has the best epoch's weights afterwards.
    """
    module = parts.module

    def evaluate(epoch: int) -> Evaluation:
        if processes.in_any(bool(module.stop)):
            raise Interrupted
        module.loaded_epoch = epoch
        trainer.validate(module, parts.datamodule, verbose=False)
        assert module.evaluation is not None
        return module.evaluation

    def epochs() -> tuple[int, int]:
        assert recorder.best is not None
        return recorder.best.epoch, recorder.epochs[-1].epoch

    best_epoch, last_epoch = processes.from_first(epochs)
    best = last = evaluate(last_epoch)
    if best_epoch != last_epoch:
        path = folder.checkpoint("best")
        module.load_state_dict(processes.from_first(lambda: checkpoint.read(path)["state_dict"]))
        best = evaluate(best_epoch)
    if trainer.is_global_zero:
        recorder.finish(best, last)
