"""Work in copies of the test's process, which may be killed, or be several of one run."""

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import cloudpickle


def in_a_fork(work: Callable[[], object]) -> int:
    """Do some work in a copy of this process; its exit code, negative for a signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os._exit(ended(work))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def in_a_new_process(work: Callable[[], object]) -> int:
    """The same in a process that shares no threads with this one: who draws has some, which a fork
    would lack and wait for."""
    process = new_process(work)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def new_process(work: Callable[[], object]) -> BaseProcess:
    """Begin some work in a process that shares nothing with this one, and has imported everything.

    Where it asks for processes of a server, it is their server: it has done nothing before.
    """
    server = multiprocessing.get_context("forkserver")
    process = server.Process(target=_carry_out, args=(cloudpickle.dumps(work),))
    process.start()
    return process


def _carry_out(work: bytes) -> None:
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    os._exit(ended(cloudpickle.loads(work)))


def together(processes: int, work: Callable[[int], object]) -> list[int]:
    """The same in several copies that find each other as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ranked(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }
        work(rank)

    return at_once(processes, ranked)


def at_once(processes: int, work: Callable[[int], object]) -> list[int]:
    """The same in several copies at the same time, each told its number."""
    started = []
    for number in range(processes):
        process = os.fork()
        if process == 0:
            os._exit(ended(lambda: work(number)))  # noqa: B023  it is this process's for good
        started.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]


def ended(work: Callable[[], object]) -> int:
    """Do some work; the exit code that it comes to."""
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        Path(f"/proc/{os.getpid()}/fd/2").write_text(traceback.format_exc(), "utf-8")
        return 1
    return 0
