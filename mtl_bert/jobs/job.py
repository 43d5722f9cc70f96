"""One job of a sweep: skipped if it is done, and otherwise carried out in a process of its own.

A process of its own shares nothing with the other jobs (memory, CUDA, random state, W&B runs), and
when it dies the sweep does not. It is forked from a server that has imported everything and done
nothing, so that it starts in no time.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from filelock import Timeout

from mtl_bert.config.settings import Settings
from mtl_bert.jobs.folder import Folder
from mtl_bert.machine.signals import EXIT_CODE, SIGNALS
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.logging import plain_messages
from mtl_bert.utils.validation import SamplerError

log = logging.getLogger("mtl_bert")

SWEEP, SWEEP_PROCESS = "MTL_BERT_SWEEP", "MTL_BERT_SWEEP_PROCESS"
"""Environment variables that tell a launcher's processes their sweep's key and its process."""

NOTHING = float("nan")
"""The score of a job that has none: Hydra's sweepers go on, and optimizers discard it."""

PAUSE = 0.5  # seconds between two looks at whether the sweep goes on


def this_process() -> str:
    """What tells this process from all others, of other machines too."""
    return f"{socket.gethostname()} {os.getpid()}"


def stopped_by_signal(folder: Folder, key: str) -> bool:
    """Whether somebody stopped a sweep, rather than ``fail_fast``."""
    return folder.stopped(key) in {number.name for number in SIGNALS}


def carry_out(
    settings: Settings,
    folder: Folder,
    number: int,
    name: str,
    *,
    fail_fast: bool,
    beside_others: bool,
) -> float:
    """Carry out a job unless there is nothing left to do; what a job does wrong is not raised.

    Args:
        settings: the job's.
        folder: of the sweep.
        number: of the job, as Hydra counts.
        name: of its run.
        fail_fast: its failure keeps the sweep from starting more jobs.
        beside_others: other jobs run at the same time, and its output goes to a file.

    Returns:
        The run's score, or ``NOTHING``.
    """
    key = os.environ.get(SWEEP, "")
    first = folder.first_number(key, name)
    if first is not None and first != number:
        log.info("job %d is the same run as job %d", number, first)
        results = folder.results(name)
        return results.score if results else NOTHING
    if (results := folder.results(name)) is not None:
        made = f"{results.finished:%Y-%m-%d}, commit {(results.commit or 'unknown')[:7]}"
        log.info("job %d is done already (score %.3f, %s): %s", number, results.score, made, name)
        return results.score
    if reason := folder.stopped(key):
        _remove_if_empty(folder, name)
        if not stopped_by_signal(folder, key):  # then all the rest is not started
            log.info("job %d is not started (%s): %s", number, reason, name)
        return NOTHING
    log.info("job %d begins: %s", number, name)
    began = time.monotonic()
    code, answer = _in_a_process(settings, folder, number, name, beside_others)
    minutes = (time.monotonic() - began) / 60
    if isinstance(answer, float):
        log.info("job %d done in %.1f minutes (score %.3f): %s", number, minutes, answer, name)
        return answer
    if folder.stopped(key) or code == EXIT_CODE:
        log.info("job %d stopped: %s", number, name)
        return NOTHING
    error = answer or _how_it_ended(code)
    folder.fail(name, error)
    _remove_if_empty(folder, name)
    more = f" (its output: {folder.output(name)})" if beside_others else ""
    sys.stderr.write(f"job {number} failed: {error}{more}\n")
    if fail_fast and key:
        folder.stop(key, f"fail_fast, and job {number} failed")
    return NOTHING


def _remove_if_empty(folder: Folder, name: str) -> None:
    """Remove the folder that Hydra made for a run that has not begun."""
    with suppress(OSError):
        folder.run(name).path.rmdir()


def _how_it_ended(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code} and no message"


def _in_a_process(
    settings: Settings, folder: Folder, number: int, name: str, beside_others: bool
) -> tuple[int, float | str | None]:
    """Exit code and answer of a job's process: its score, its error, or nothing at all."""
    if _in_a_launchers_process():
        _leave_signals_to_the_sweep()
        # Children are told this process's own method; they do not know joblib's.
        multiprocessing.set_start_method("forkserver", force=True)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mtl_bert.training.run"])
    answers, answer = server.Pipe(duplex=False)
    process = server.Process(
        target=_work,
        args=(settings, folder, number, name),
        kwargs={"beside_others": beside_others, "answer": answer},
        name=f"job {number}",
    )
    process.start()
    answer.close()
    launcher, orphaned, asked = os.getppid(), False, False
    while process.exitcode is None:
        process.join(PAUSE)
        # Somebody killed the sweep's process, or asked it to stop.
        orphaned = _in_a_launchers_process() and os.getppid() != launcher
        if not asked and (orphaned or _stopped_here(folder)):
            asked = True
            process.terminate()
    if orphaned:
        os._exit(EXIT_CODE)  # nobody waits for an answer, and no other job must begin
    found: float | str | None = None
    with suppress(EOFError):
        found = answers.recv() if answers.poll() else None
    answers.close()
    return process.exitcode, found


def _in_a_launchers_process() -> bool:
    """Whether this process was started by the sweep's for its jobs."""
    return os.environ.get(SWEEP_PROCESS, this_process()) != this_process()


def _stopped_here(folder: Folder) -> bool:
    """Whether the sweep was asked to stop, on this machine: a cluster's other machines go on."""
    host = os.environ.get(SWEEP_PROCESS, "").partition(" ")[0]
    return host == socket.gethostname() and stopped_by_signal(folder, os.environ[SWEEP])


def _leave_signals_to_the_sweep() -> None:
    """Let a Ctrl-C at the terminal, which reaches everyone, end neither this process nor its job.

    The sweep's own process notes that it was asked to stop, and whoever waits for a job tells it.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(
    settings: Settings,
    folder: Folder,
    number: int,
    name: str,
    *,
    beside_others: bool,
    answer: Connection,
) -> None:
    """What the job's process does."""
    for signal_number in SIGNALS:
        signal.signal(signal_number, signal.SIG_DFL)
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    if beside_others:
        _write_to(folder.output(name))
    plain_messages()
    try:
        answer.send(_run(settings, folder, number, name))
    except (UserError, SamplerError) as error:
        answer.send(str(error))
        sys.exit(2)
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0]
        answer.send(f"{type(error).__name__}: {first}")
        sys.exit(1)


def _run(settings: Settings, folder: Folder, number: int, name: str) -> float:
    from mtl_bert.machine.gpus import own_gpus
    from mtl_bert.training.run import run

    lock = folder.lock(name)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        log.info("job %d waits for another process that carries it out: %s", number, name)
        held = lock.acquire()
    with held:
        results = folder.results(name)
        if results is None:
            on_gpus = settings.trainer.accelerator != "cpu"
            with own_gpus(settings.trainer.devices if on_gpus else 0):
                run(settings, folder.run(name).path)
            results = folder.results(name)
    assert results is not None
    return results.score


def _stop_with_the_parent() -> None:
    """Save and end when the process that waits for this one has died."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _write_to(path: Path) -> None:
    """Send what this process and its children print to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
