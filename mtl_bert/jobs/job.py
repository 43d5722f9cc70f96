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
from dataclasses import dataclass
from multiprocessing.connection import Connection

from filelock import FileLock, Timeout

from mtl_bert.config.settings import Settings
from mtl_bert.jobs.folder import Folder
from mtl_bert.machine.signals import EXIT_CODE, SIGNALS, how_killed
from mtl_bert.utils.errors import REFUSED, UserError, first_line, say, told
from mtl_bert.utils.logging import plain_messages

log = logging.getLogger("mtl_bert")

SWEEP, SWEEP_PROCESS = "MTL_BERT_SWEEP", "MTL_BERT_SWEEP_PROCESS"
"""Environment variables that tell a launcher's processes their sweep's key and its process."""

NOTHING = float("nan")
"""The score of a job that has none: Hydra's sweepers go on, and optimizers discard it."""

PAUSE = 0.5  # seconds between two looks at whether the sweep goes on


def this_process() -> str:
    """What tells this process from all others, of other machines too."""
    return f"{socket.gethostname()} {os.getpid()}"


def stopped_by_signal(folder: Folder, process: str) -> bool:
    """Whether somebody stopped the sweep of a process, rather than ``fail_fast``."""
    return folder.stopped(process) in {number.name for number in SIGNALS}


@dataclass(frozen=True)
class JobProcess:
    """A job of a sweep, and the process that carries it out.

    Attributes:
        settings: the job's.
        folder: of the sweep.
        number: of the job, as Hydra counts.
        name: of its run.
        fail_fast: its failure keeps the sweep from starting more jobs.
        beside_others: other jobs run at the same time, and its output goes to a file.
    """

    settings: Settings
    folder: Folder
    number: int
    name: str
    fail_fast: bool
    beside_others: bool

    def carry_out(self) -> float:
        """The run's score, or ``NOTHING``; what a job does wrong is said and not raised."""
        folder, number, name = self.folder, self.number, self.name
        sweep = os.environ.get(SWEEP_PROCESS, "")
        first = folder.first_number(os.environ.get(SWEEP, ""), name)
        if first is not None and first != number:
            log.info("job %d is the same run as job %d", number, first)
            results = folder.results(name)
            return results.score if results else NOTHING
        if (results := folder.results(name)) is not None:
            made = f"{results.finished:%Y-%m-%d}, commit {(results.commit or 'unknown')[:7]}"
            score = f"score {results.score:.3f}, {made}"
            log.info("job %d is already done (%s): %s", number, score, name)
            return results.score
        if reason := folder.stopped(sweep):
            self._remove_if_empty()
            if not stopped_by_signal(folder, sweep):  # then all the rest is not started
                log.info("job %d is not started (%s): %s", number, reason, name)
            return NOTHING
        log.info("job %d begins: %s", number, name)
        began = time.monotonic()
        code, answer = self._wait_for_process()
        minutes = (time.monotonic() - began) / 60
        if isinstance(answer, float):
            log.info("job %d done in %.1f minutes (score %.3f): %s", number, minutes, answer, name)
            return answer
        if folder.stopped(sweep) or code == EXIT_CODE:
            log.info("job %d stopped: %s", number, name)
            return NOTHING
        error = answer or _how_it_ended(code)
        folder.fail(name, error)
        self._remove_if_empty()
        more = f" (its output: {folder.output(name)})" if self.beside_others else ""
        say(f"job {number} failed: {error}{more}", sys.stderr)
        if self.fail_fast and sweep:
            folder.stop(sweep, f"fail_fast, and job {number} failed")
        return NOTHING

    def _remove_if_empty(self) -> None:
        """Remove the folder that Hydra made for a run that has not begun."""
        run = self.folder.run(self.name)
        with suppress(OSError):  # such as that of a lock that somebody else holds
            if run.lock.exists() and not run.config.exists():  # it was killed
                with FileLock(run.lock, blocking=False):
                    run.lock.unlink()
            run.path.rmdir()

    def _wait_for_process(self) -> tuple[int, float | str | None]:
        """Exit code and answer of the job's process: its score, its error, or nothing at all."""
        if _in_a_launchers_process():
            # A Ctrl-C at the terminal reaches everyone: the sweep's own process notes it, and
            # whoever waits for a job tells it.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Children are told this process's own method; they do not know joblib's.
            multiprocessing.set_start_method("forkserver", force=True)
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["mtl_bert.training.run"])
        answers, answer = server.Pipe(duplex=False)
        process = server.Process(target=self._work, args=(answer,), name=f"job {self.number}")
        process.start()
        answer.close()
        launcher, orphaned, asked = os.getppid(), False, False
        while process.exitcode is None:
            process.join(PAUSE)
            # Somebody killed the sweep's process, or asked it to stop.
            orphaned = _in_a_launchers_process() and os.getppid() != launcher
            if not asked and (orphaned or _stopped_here(self.folder)):
                asked = True
                process.terminate()
        if orphaned:
            os._exit(EXIT_CODE)  # nobody waits for an answer, and no other job must begin
        found: float | str | None = None
        with suppress(EOFError):
            found = answers.recv() if answers.poll() else None
        answers.close()
        return process.exitcode, found

    def _work(self, answer: Connection) -> None:
        """What the job's process does."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=_stop_with_the_parent, daemon=True).start()
        try:
            if self.beside_others:
                with self.folder.output(self.name).open("ab") as file:
                    for stream in (sys.stdout, sys.stderr):
                        stream.flush()
                        os.dup2(file.fileno(), stream.fileno())
            plain_messages()
            answer.send(self._run())
        except (UserError, OSError) as error:
            answer.send(told(error))
            sys.exit(REFUSED)
        except Exception as error:
            traceback.print_exc()
            answer.send(f"{type(error).__name__}: {first_line(error)}")
            sys.exit(1)

    def _run(self) -> float:
        from mtl_bert.machine.gpus import own_gpus
        from mtl_bert.training.run import run

        lock, trainer = self.folder.lock(self.name), self.settings.trainer
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            what = "waits for another process that carries it out"
            log.info("job %d %s: %s", self.number, what, self.name)
            held = lock.acquire()
        with held:
            results = self.folder.results(self.name)
            if results is None:
                with own_gpus(0 if trainer.accelerator == "cpu" else trainer.devices):
                    run(self.settings, self.folder.run(self.name).path)
                results = self.folder.results(self.name)
        assert results is not None
        return results.score


def _how_it_ended(code: int) -> str:
    return how_killed(-code) if code < 0 else f"ended with exit code {code} and no message"


def _in_a_launchers_process() -> bool:
    """Whether this process was started by the sweep's for its jobs."""
    return os.environ.get(SWEEP_PROCESS, this_process()) != this_process()


def _stopped_here(folder: Folder) -> bool:
    """Whether the sweep was asked to stop, on this machine: a cluster's other machines go on."""
    sweep = os.environ.get(SWEEP_PROCESS, "")
    return sweep.partition(" ")[0] == socket.gethostname() and stopped_by_signal(folder, sweep)


def _stop_with_the_parent() -> None:
    """Save and end when the process that waits for this one has died."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
