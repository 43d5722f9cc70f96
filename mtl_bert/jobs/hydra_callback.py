"""What Hydra tells us of a sweep: it is about to begin, here is a job, it is over."""

import logging
import os
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import configure_log
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mtl_bert.config.command_line import explained
from mtl_bert.config.compose import (
    command_keys,
    made_by,
    place,
    read_job_settings,
    read_settings,
)
from mtl_bert.config.run_key import run_name
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.jobs.folder import Folder, Job, State, Sweep
from mtl_bert.jobs.job import SWEEP, SWEEP_PROCESS, JobProcess, stopped_by_signal, this_process
from mtl_bert.machine.signals import AT_ONCE, EXIT_CODE, handle
from mtl_bert.utils.errors import REFUSED, say, told

log = logging.getLogger("mtl_bert")


def carry_out_job(config: DictConfig, directory: Path) -> float:
    """One job, in the process in which the launcher starts it; its score, or NaN."""
    settings, unused = _checked(config)
    hydra = HydraConfig.get()
    if unused:
        name = settings.sampler["name"]
        log.info("sampler=%s does not use %s: left out", name, ", ".join(unused))
    return JobProcess(
        made_by(settings, hydra.overrides.task, unused),
        Folder(directory.parent),
        hydra.job.num,
        directory.name,
        fail_fast=config.fail_fast,
        beside_others=not hydra.launcher["_target_"].endswith(".BasicLauncher"),
    ).carry_out()


def _checked(config: DictConfig) -> tuple[Settings, list[str]]:
    """A job's settings, and the keys that were left out."""
    if command_keys(config) is not None:
        raise ConfigError(
            f"resume: expected nothing with -m, found {config.resume}; leave it out: a sweep "
            "goes on with what is not finished"
        )
    return read_job_settings(config)


class SweepCallback(Callback):
    """Refuses a sweep before its first job, notes its jobs, and says how it ended."""

    def __init__(self) -> None:
        self._sweep: Sweep | None = None
        self._folder = Folder(Path())
        self._handlers: dict[int, Any] = {}  # launchers hand this object to other processes

    def on_multirun_start(self, config: DictConfig, **settings: Any) -> None:
        """Note the jobs of the sweep; of what is wrong, nothing gets as far as a job."""
        if settings.get("config_name") != "train":  # a plan is printed, and is no run
            return
        configure_log(config.hydra.hydra_logging)
        try:
            self._folder = Folder(place("hydra.sweep.dir", config.hydra.sweep.dir))
            place("hydra.sweep.subdir", config.hydra.sweep.subdir)
            if config.hydra.launcher.get("n_jobs") == 0:  # joblib would end in a traceback
                raise ConfigError(
                    "hydra.launcher.n_jobs: expected jobs at a time, or -1 for one on each core, "
                    "found 0; write hydra.launcher.n_jobs=2"
                )
            jobs, command = _jobs(config), tuple(config.hydra.overrides.task)
            self._sweep = Sweep(command=command, started=datetime.now(UTC), jobs=jobs)
            self._folder.add(self._sweep, this_process())
        except (HydraException, OmegaConfBaseException):
            return  # the sweeper will come to the same error, and Hydra lets it through
        except (ConfigError, OSError) as error:  # which Hydra would turn into a warning
            say(told(error), sys.stderr)
            sys.exit(REFUSED)
        os.environ |= {SWEEP: self._sweep.key, SWEEP_PROCESS: this_process()}
        self._handlers = handle(self._stop)
        if jobs:
            names = {job.name for job in jobs}
            done = sum(self._folder.state(name) == State.DONE for name in names)
            same = f", {len(names)} different runs" if len(names) < len(jobs) else ""
            log.info(
                "sweep of %d jobs%s in %s, %d already done; its progress: mtl-bert sweep status %s",
                *(len(jobs), same, self._folder.path, done, self._folder.path),
            )

    def on_multirun_end(self, config: DictConfig, **settings: Any) -> None:
        """Say how the sweep ended; the exit code is 0 if all its jobs are done."""
        if self._sweep is None:
            return
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        del os.environ[SWEEP], os.environ[SWEEP_PROCESS]
        # Of jobs that the sweeper invented, those that failed are known.
        invented = [] if self._sweep.jobs else self._folder.failed_since(self._sweep.started)
        names = [*(job.name for job in self._sweep.jobs), *invented]
        state_of = {name: self._folder.state(name) for name in names}
        done = sum(state == State.DONE for state in state_of.values())
        reason = self._folder.noted(this_process(), State.STOPPED)
        by_signal = stopped_by_signal(self._folder, this_process())
        if done == len(state_of) and not (by_signal and not state_of):
            return
        if by_signal:
            sys.stderr.write(f"sweep stopped by {reason}; the same command goes on\n")
            sys.exit(EXIT_CODE)
        log.info("%d of %d runs done", done, len(state_of))
        failed = [name for name, state in state_of.items() if state == State.FAILED]
        for name in failed:
            log.info("failed: %s: %s", name, self._folder.noted(name, State.FAILED))
        log.info("%srun the same command to try the rest again", f"{reason}; " if reason else "")
        sys.exit(REFUSED if failed else EXIT_CODE)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Start no more jobs; who waits for one on this machine has it save and end."""
        name = signal.Signals(number).name
        if self._folder.noted(this_process(), State.STOPPED) == name and number == signal.SIGINT:
            sys.exit(AT_ONCE)
        self._folder.note(this_process(), State.STOPPED, name)


def _jobs(config: DictConfig) -> tuple[Job, ...]:
    """The jobs of a sweep, with their settings checked; none if its sweeper invents them."""
    if not config.hydra.sweeper["_target_"].endswith(".BasicSweeper"):
        return ()
    loader = GlobalHydra.instance().config_loader()
    params = config.hydra.sweeper.get("params") or {}
    given = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    sweeper: Any = resolve_name(config.hydra.sweeper["_target_"])
    jobs, unused_by, first = [], Counter[str](), dict[str, DictConfig]()
    for number, overrides in enumerate(sweeper.split_arguments(parsed, None)[0]):
        try:
            composed = loader.load_sweep_config(config, overrides)
            settings, unused = _checked(composed)
        except Exception as error:
            said = error if isinstance(error, ConfigError) else explained(error)
            raise ConfigError(f"job {number} ({' '.join(overrides)}): {said}") from error
        unused_by.update(unused)
        for key in unused:
            first.setdefault(key, composed)
        jobs.append(Job(number=number, name=run_name(settings), overrides=tuple(overrides)))
    if not jobs:
        raise ConfigError(
            "-m: expected at least one job, found none, as a glob(...) matches nothing; write "
            "for example '+experiment/table4=glob(*)'"
        )
    for key, count in unused_by.items():
        if count == len(jobs):
            read_settings(first[key])  # refused as for a single run
    return tuple(jobs)
