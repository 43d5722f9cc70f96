"""The life of a run: its folder is opened or created, it is built, trained, scored and recorded."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import index
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from mtl_bert.config.command_line import assignment
from mtl_bert.config.compose import settings_yaml
from mtl_bert.config.run_key import key_of
from mtl_bert.config.saved import callables, saved_settings
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.machine import processes, signals
from mtl_bert.machine.hardware import in_words, resolved
from mtl_bert.machine.signals import Interrupted
from mtl_bert.runs import checkpoint, provenance
from mtl_bert.runs.factories import make, with_single_scores
from mtl_bert.runs.results import RunFolder
from mtl_bert.runs.summary import print_summary
from mtl_bert.tracking.loggers import open_loggers, run_labels, wandb_logger
from mtl_bert.training import resume
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.callbacks.profiler import StepProfile
from mtl_bert.training.callbacks.progress import RunProgress
from mtl_bert.training.callbacks.recorder import Recorder, notes_on
from mtl_bert.training.callbacks.wandb_updates import WandbCallback
from mtl_bert.training.evaluation import Evaluation, score_more
from mtl_bert.utils.errors import UserError, first_line, told
from mtl_bert.utils.files import place_for, remove_temporaries, write_text
from mtl_bert.utils.logging import messages_kept_in

log = logging.getLogger("mtl_bert")


def run(settings: Settings, directory: Path) -> Path:
    """Carry out a run in its own folder, or go on with the one that is there.

    Returns:
        The folder, for :meth:`mtl_bert.inference.opened.Run.open`.

    Raises:
        ConfigError, DataError, ModelError, HubError, FreezeError: before anything is written.
        UserError: also later, of a disk that is full or a process that was killed.
        SystemExit: with ``signals.EXIT_CODE`` when the run was asked to stop.
    """
    settings = with_single_scores(resolved(settings))
    count, devices, nodes = settings.processes, settings.trainer.devices, settings.trainer.num_nodes
    started = processes.environment(count)
    if started is not None and started.world_size() != count:
        raise ConfigError(
            f"trainer.devices: expected as many processes as were started ("
            f"{started.world_size()}), found {devices} devices of {nodes} nodes; write "
            f"trainer.devices={started.world_size() // nodes or 1}"
        )
    if count == 1 or started is not None:
        _train(settings, directory)
    elif nodes == 1:
        folder = RunFolder(directory)
        with _faults_told(folder):
            processes.spawn(partial(_train, settings, directory), count, _go_on(folder))
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
        stack.enter_context(_faults_told(folder))
        joined = processes.joined(settings.processes, trainer_settings.accelerator)
        first = stack.enter_context(joined) == 0  # the process that reads and writes the folder
        opened = processes.from_first(lambda: _open(folder, settings, stack))
        if opened is None:
            if first:
                log.info("already finished: nothing to do")
                results = folder.read_results()
                # It may have been killed before it did.
                folder.prune(results.config["trainer"].get("keep", "all"))
                print_summary(results, directory)
            return
        old, state = opened
        settings = settings.model_copy(update={"run_key": key_of(old)})
        parts = assemble(settings)
        logger_factories = [make(node, f"logger.{name}") for name, node in settings.logger.items()]
        make_trainer(settings, directory)  # refuses a device that is not there
        run_state = None if state is None else resume.restore(parts, old, settings, state)
        # From here on things are written.
        processes.from_first(lambda: write_text(folder.config, settings_yaml(settings)))
        # Of a finished run that gets more epochs they would stand beside other weights.
        processes.from_first(lambda: folder.results.unlink(missing_ok=True))

        recorder = Recorder(folder, settings, parts)
        if run_state is not None:
            processes.from_first(lambda: recorder.resume(run_state))
        module, datamodule = parts.module, parts.datamodule
        epochs_left = settings.epochs - datamodule.start.epoch + 1
        loggers: list[Logger] = []
        callbacks: list[Callback] = []
        wandb = []
        if first:
            stack.enter_context(messages_kept_in(folder.log))
            labels = run_labels(settings, parts.data, directory, state)
            loggers = stack.enter_context(open_loggers(logger_factories, labels))
            if (wandb_run := wandb_logger(loggers)) is not None:
                recorder.wandb_id = str(wandb_run.experiment.id)
                wandb = [WandbCallback(wandb_run, directory, recorder.results)]
            callbacks = [recorder, RunProgress(recorder), *wandb]
            if trainer_settings.profile:
                callbacks.append(StepProfile(folder.profile, datamodule.plan))
        callbacks += [make(node, f"callbacks.{name}") for name, node in settings.callbacks.items()]
        trainer = make_trainer(settings, directory, loggers, callbacks, epochs=epochs_left)
        if first:
            log.info("run in %s", directory)
            if state is not None:
                log.info("resuming from epoch %d, step %d", *state["position"])
            for note in notes_on(settings, parts):
                log.info("%s", note)
            recorder.device = provenance.device_name(trainer.strategy.root_device)
            log.info("%s", in_words(settings, recorder.device, packs=module.model.packs))
            log.info("pooling: %s", module.model.pooling)
            log.info("steps with several tasks: %s", module.passes)
            for group in datamodule.same_texts if module.model.encodes_alike else ():
                log.info("%s", module.passes.of_labels([*group]))

        trains = datamodule.total_steps > 0
        with _stopping_when_asked(parts, folder, first):
            if state is None and (trainer_settings.baseline or not trains):
                trainer.validate(module, datamodule, verbose=False)
                assert module.evaluation is not None
                recorder.state.untrained = module.evaluation.scores
                if first and not trains:
                    recorder.keep_best(module.evaluation)
            if trains and epochs_left > 0 and not module.patience_is_over(datamodule.history):
                trainer.fit(module, datamodule)
            if trains and datamodule.samples:
                _final_evaluation(trainer, parts, recorder, folder)
            if first and parts.more:
                _score_more(trainer, parts, recorder, folder)
            if first:
                results = recorder.results()
                write_text(folder.results, results.model_dump_json(indent=2) + "\n")
                for callback in wandb:
                    callback.show(results, module.steps)
                folder.prune(trainer_settings.keep)
    if first:
        print_summary(results, directory)


# The folder: what an earlier process left in it, and keeping other processes out.


def _open(
    folder: RunFolder, settings: Settings, stack: ExitStack
) -> tuple[Settings, dict[str, Any] | None] | None:
    """The run's settings so far, and the checkpoint to go on from; None if it has finished.

    No checkpoint begins anew, also after a stop before the first.
    """
    folder.refuse_links()
    stack.enter_context(_claimed(folder))
    if not folder.config.exists():
        return settings, None
    old = saved_settings(folder.config, named=callables(settings.config()))
    resume.check_changes(old, settings)
    finished = 0
    if folder.results.exists():
        try:
            finished = index(folder.read_results().config["epochs"])
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{folder.results}: expected the results of a run, found something else "
                f"({first_line(error)}); write hydra.run.dir=ANOTHER"
            ) from error
    if settings.epochs == finished:
        return None
    if settings.epochs < finished:
        raise ConfigError(
            f"epochs: expected at least {finished}, which the run in {folder.path} has finished, "
            f"found {settings.epochs}; write epochs={finished} or hydra.run.dir=ANOTHER"
        )
    remove_temporaries(folder.path)
    state = checkpoint.newest(folder, key_of(old))
    if state is None and finished:
        raise ConfigError(
            f"epochs: expected at most {finished}, as {folder.path} keeps no checkpoint to go on "
            f"from (it was run with trainer.keep={old.trainer.keep}), found {settings.epochs}; "
            "write hydra.run.dir=ANOTHER"
        )
    return old, state


@contextmanager
def _claimed(folder: RunFolder) -> Iterator[None]:
    """Keep other processes out of a run, before anybody looks what is there.

    The lock's file stays: were it removed, another process could lock a new one. A folder in which
    nothing has begun goes again, and the file with it.
    """
    try:
        with place_for(folder.path), FileLock(folder.lock, blocking=False):
            try:
                yield
            finally:
                if not folder.config.exists():
                    folder.lock.unlink(missing_ok=True)
    except Timeout:
        raise ConfigError(
            f"hydra.run.dir: expected a run that nobody is working on, found another process in "
            f"{folder.path}; wait for its end or write hydra.run.dir=ANOTHER"
        ) from None


@contextmanager
def _faults_told(folder: RunFolder) -> Iterator[None]:
    """Say what the machine would not do, and how to go on when it can."""
    # Threads that write for a run, as TensorBoard's, hand their errors on to it.
    threading.excepthook = _told_of_thread
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):  # nobody reads on: nothing is wrong
            raise
        lost = isinstance(error, ConnectionError | EOFError)  # in the middle of a batch
        if lost or str(error).startswith("DataLoader worker"):
            raise UserError(
                f"trainer.num_workers: expected workers until the end, found {first_line(error)} "
                f"(out of memory?); {_go_on(folder)}, with fewer of them"
            ) from error
        if not isinstance(error, OSError):
            raise
        then = f", then {_go_on(folder)}" if folder.config.exists() else ""
        raise UserError(told(error, folder.path, then)) from error


def _told_of_thread(thread: threading.ExceptHookArgs) -> None:
    if not issubclass(thread.exc_type, OSError):
        threading.__excepthook__(thread)


def _go_on(folder: RunFolder) -> str:
    return f"write {assignment('resume', folder.path)} to go on"


@contextmanager
def _stopping_when_asked(parts: Assembly, folder: RunFolder, first: bool) -> Iterator[None]:
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
                f"{epoch}; {_go_on(folder)}\n"
            )
        sys.exit(signals.EXIT_CODE)


def _final_evaluation(
    trainer: Trainer, parts: Assembly, recorder: Recorder, folder: RunFolder
) -> None:
    """Score the last epoch's model and the best ones on the dev sets that are reported, whole.

    The module has the best epoch's weights afterwards.
    """
    module, evaluations = parts.module, dict[int, Evaluation]()
    so_far = processes.from_first(recorder.results)
    last, best = so_far.last_epoch, so_far.best_epoch

    def load(path: Path) -> None:
        weights = processes.from_first(lambda: checkpoint.read(path, recorder.key)["state_dict"])
        module.model.load_state_dict(weights)

    # Each epoch once: a task's best one may be another's, too. The last one's weights are there.
    own = {scores.epoch: folder.checkpoint_of(t) for t, scores in so_far.best_of_tasks.items()}
    named = {name: folder.checkpoint(name) for name in ("last", "best")}
    for epoch, path in {last: named["last"], **own, best: named["best"]}.items():
        if processes.in_any(bool(module.stop)):
            raise Interrupted
        if epoch != last:
            load(path)
        module.loaded_epoch = epoch
        trainer.validate(module, parts.datamodule, verbose=False)
        assert module.evaluation is not None
        evaluations[epoch] = module.evaluation
    if module.loaded_epoch != best:
        load(named["best"])
        module.loaded_epoch = best
    if trainer.is_global_zero:
        recorder.finish(evaluations, best, last)


def _score_more(trainer: Trainer, parts: Assembly, recorder: Recorder, folder: RunFolder) -> None:
    """Score the best epoch's model on the further labelled sets."""
    model = parts.module.model.to(trainer.strategy.root_device)
    best = checkpoint.read(folder.checkpoint("best"), recorder.key)["state_dict"]
    model.load_state_dict(best)
    with trainer.precision_plugin.forward_context():
        size = recorder.settings.trainer.eval_batch_size
        recorder.more = score_more(model, parts.more, size)
