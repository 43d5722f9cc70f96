"""What the tests' processes, and the server whose forks they use, have done once and for all.

Hundreds of tests train, most of them in a process that is forked for them, where all has been
imported and called once.
"""

import gc
import io
import os
import sys
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress
from multiprocessing import forkserver, util
from pathlib import Path

from mtl_bert.training import run as running
from tests import compose_once  # noqa: F401  from now on
from tests.composing import settings_of

os.fsync = lambda file: None  # type: ignore[assignment]  # tests kill processes, not machines
_spawn = util.spawnv_passfds
with (
    tempfile.TemporaryDirectory() as place,
    redirect_stdout(io.StringIO()),
    redirect_stderr(io.StringIO()),
):
    words = (
        "task=[sst,sts]", "data.scale=0.002", "tasks.sst.sources.demo.dev=4",
        "tasks.sts.sources.demo.dev=4", "epochs=1", "B=8", "trainer.accelerator=cpu",
        "trainer.cache=false", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    running.run(settings_of(*words), Path(place, "run"))


def serve_forks() -> None:
    """Make multiprocessing's server of forks a fork of this process, while it has one thread.

    Started as usual, the server would import everything once more.
    """
    util.spawnv_passfds = _fork  # type: ignore[assignment]
    try:
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = _spawn


def _fork(_: bytes, command: list[str], kept: list[int]) -> int:
    """Carry out ``python -c PROGRAM`` in a fork instead of a new process."""
    gc.freeze()
    process = os.fork()
    if process == 0:
        try:
            util.spawnv_passfds = _spawn
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
            forkserver._forkserver._lock = threading.Lock()  # type: ignore[attr-defined]  # is held
            # It ends when nobody has the other end of its pipe any more, so it may not, either.
            pipe = kept[1]
            for other in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
                with suppress(OSError):
                    if other != pipe and os.path.sameopenfile(other, pipe):
                        os.close(other)
            exec(command[-1], {})
        finally:
            os._exit(0)
    return process
