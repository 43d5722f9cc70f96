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
from contextlib import suppress
from dataclasses import dataclass

from filelock import FileLock, Timeout

from mtl_bert.config.settings import Settings
from mtl_bert.jobs.folder import Folder, State
from mtl_bert.machine.signals import EXIT_CODE, SIGNALS, how_killed
from mtl_bert.runs.results import Results
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
    return folder.noted(process, State.STOPPED) in {number.name for number in SIGNALS}


@dataclass(frozen=True)
class JobProcess:
    """A job of a sweep, and the process that carries it out."""

    settings: Settings
    folder: Folder  # of the sweep
    number: int  # of the job, as Hydra counts
    name: str  # of its run
    fail_fast: bool  # its failure keeps the sweep from starting more jobs
    beside_others: bool  # other jobs run at the same time, and its output goes to a file

    def carry_out(self) -> float:
        """The run's score, or ``NOTHING``; what a job does wrong is said and not raised."""
        folder, number, name = self.folder, self.number, self.name
        sweep = os.environ.get(SWEEP_PROCESS, "")
        first = folder.first_number(os.environ.get(SWEEP, ""), name)
        results = folder.results(name)
        if first is not None and first != number:
            log.info("job %d is the same run as job %d", number, first)
            return results.score if results else NOTHING
        if results is not None:
            made = f"{results.finished:%Y-%m-%d}, commit {(results.commit or 'unknown')[:7]}"
            score = f"score {results.score:.3f}, {made}"
            log.info("job %d is already done (%s): %s", number, score, name)
            self._prune(results)
            return results.score
        if reason := folder.noted(sweep, State.STOPPED):
            self._remove_if_empty()
            if not stopped_by_signal(folder, sweep):  # then all the rest is not started
                log.info("job %d is not started (%s): %s", number, reason, name)
            return NOTHING
        log.info("job %d begins: %s", number, name)
        began = time.monotonic()
        folder.forget(name, State.FAILED)
        code = self._wait_for_process()
        if code == 0 and (results := folder.results(name)):
            done = f"{(time.monotonic() - began) / 60:.1f} minutes (score {results.score:.3f})"
            log.info("job %d done in %s: %s", number, done, name)
            return results.score
        if folder.noted(sweep, State.STOPPED) or code == EXIT_CODE:
            log.info("job %d stopped: %s", number, name)
            return NOTHING
        if (error := folder.noted(name, State.FAILED)) is None:
            error = how_killed(-code) if code < 0 else f"ended with exit code {code} and no message"
            folder.note(name, State.FAILED, error)
        self._remove_if_empty()
        more = f" (its output: {folder.output(name)})" if self.beside_others else ""
        say(f"job {number} failed: {error}{more}", sys.stderr)
        if self.fail_fast and sweep:
            folder.note(sweep, State.STOPPED, f"fail_fast, and job {number} failed")
        return NOTHING

    def _prune(self, results: Results) -> None:
        """Remove what a run meant to, if it was killed after its results and before that."""
        run = self.folder.run(self.name)
        if run.checkpoint("last").exists():
            with suppress(OSError, Timeout), FileLock(run.lock, blocking=False):
                run.prune(results.config["trainer"].get("keep", "all"))

    def _remove_if_empty(self) -> None:
        """Remove the folder that Hydra made for a run that has not begun."""
        run = self.folder.run(self.name)
        with suppress(OSError):  # such as that of a lock that somebody else holds
            if run.lock.exists() and not run.config.exists():  # it was killed
                with FileLock(run.lock, blocking=False):
                    run.lock.unlink()
            run.path.rmdir()

    def _wait_for_process(self) -> int:
        """The exit code of the process that carries the job out."""
        sweep = os.environ.get(SWEEP_PROCESS, this_process())
        launched = sweep != this_process()  # by a launcher, for its jobs
        if launched:
            # A Ctrl-C at the terminal reaches everyone: the sweep's own process notes it, and
            # whoever waits for a job tells it.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Children are told this process's own method; they do not know joblib's.
            multiprocessing.set_start_method("forkserver", force=True)
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["mtl_bert.training.run"])
        process = server.Process(target=self._work, name=f"job {self.number}")
        process.start()
        launcher, orphaned, asked = os.getppid(), False, False
        # A cluster's other machines go on when the sweep is asked to stop.
        here = sweep.partition(" ")[0] == socket.gethostname()
        while process.exitcode is None:
            process.join(PAUSE)
            orphaned = launched and os.getppid() != launcher  # the sweep's process was killed
            if not asked and (orphaned or (here and stopped_by_signal(self.folder, sweep))):
                asked = True
                process.terminate()
        if orphaned:
            os._exit(EXIT_CODE)  # nobody waits for an answer, and no other job must begin
        return process.exitcode

    def _work(self) -> None:
        """What the job's process does."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=_stop_with_the_parent, daemon=True).start()
        if self.beside_others:
            with self.folder.output(self.name).open("ab") as file:
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                    os.dup2(file.fileno(), stream.fileno())
        plain_messages()
        try:
            self._run()
        except (UserError, OSError) as error:
            self.folder.note(self.name, State.FAILED, told(error))
            sys.exit(REFUSED)
        except Exception as error:
            self.folder.note(
                self.name, State.FAILED, f"{type(error).__name__}: {first_line(error)}"
            )
            raise

    def _run(self) -> None:
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
            if self.folder.results(self.name) is None:
                with own_gpus(0 if trainer.accelerator == "cpu" else trainer.devices):
                    run(self.settings, self.folder.run(self.name).path)


def _stop_with_the_parent() -> None:
    """Save and end when the process that waits for this one has died."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
