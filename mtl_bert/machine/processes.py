"""The processes of a run: one, several started here, or those that torchrun or Slurm started."""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, start_processes

from mtl_bert.machine.hardware import on_gpu
from mtl_bert.machine.signals import EXIT_CODE, handled, how_killed
from mtl_bert.utils.errors import REFUSED, UserError
from mtl_bert.utils.logging import plain_messages

Value = TypeVar("Value")

# When one process ends, it says which others it ends: ours say why.
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)


def environment(processes: int) -> ClusterEnvironment | None:
    """Who started this process as one of several, if somebody did."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) == processes > 1:
        return SLURMEnvironment(auto_requeue=False)  # runs save and end by themselves
    return None


def spawn(work: Callable[[], None], processes: int, then: str = "start again") -> None:
    """Do the same work in several new processes of this machine.

    Raises:
        UserError: one of theirs; or one was killed, and ``then`` says what to do.
        SystemExit: with the code of the first that ended otherwise than well.
    """
    # Forked from a server that has imported everything, so that K processes import it once.
    multiprocessing.set_forkserver_preload([getattr(work, "func", work).__module__])
    errors: SimpleQueue[str] = multiprocessing.get_context("forkserver").SimpleQueue()
    running = start_processes(  # type: ignore[no-untyped-call]
        _child,
        args=(work, processes, find_free_network_port(), errors),
        nprocs=processes,
        join=False,
        start_method="forkserver",
    )
    asked = set[int]()

    def forward(number: int, _: object) -> None:
        asked.add(number)
        if number == signal.SIGINT and sys.stdin is not None and os.isatty(0):
            return  # a terminal tells everyone
        for process in running.processes:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                if process.is_alive():
                    os.kill(process.pid, number)

    with handled(forward):
        try:
            while not running.join():
                pass
        except ProcessException as error:
            code = getattr(error, "exit_code", 1)  # of one that did not raise
            if -code in asked:  # before it listened
                sys.exit(EXIT_CODE)
            if code < 0:
                raise UserError(
                    f"trainer.devices: expected {processes} processes until the end, found process "
                    f"{error.error_index} {how_killed(-code)}; {then}"
                ) from None
            if not errors.empty():
                raise UserError(errors.get()) from None
            if isinstance(error, ProcessExitedException):
                sys.exit(code)
            raise


def _child(rank: int, work: Callable[[], None], processes: int, port: int, errors: Any) -> None:
    """What torchrun would do, then the work."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": str(os.getppid()),
    }
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    plain_messages(logging.INFO if rank == 0 else logging.ERROR)
    try:
        work()
    except UserError as error:
        errors.put(str(error))
        sys.exit(REFUSED)


@contextmanager
def joined(processes: int, accelerator: str) -> Iterator[int]:
    """Meet the other processes of the run, if there are any; gives this one's number."""
    cluster = environment(processes)
    if cluster is None:
        yield 0
        return
    gpu = on_gpu(accelerator)
    if gpu:
        torch.cuda.set_device(cluster.local_rank())
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo",
        init_method=f"tcp://{cluster.main_address}:{cluster.main_port}",
        rank=cluster.global_rank(),
        world_size=cluster.world_size(),
    )
    try:
        yield cluster.global_rank()
    finally:
        dist.destroy_process_group()


def in_any(so: bool) -> bool:
    """Whether it is so in some process."""
    if not dist.is_initialized():
        return so
    told = [so] * dist.get_world_size()
    dist.all_gather_object(told, so)
    return any(told)


def from_first(work: Callable[[], Value]) -> Value:
    """What some work comes to in the first process, in every process; also what it cannot do."""
    if not dist.is_initialized():
        return work()
    answer: list[Any] = [None, None]
    try:
        answer[0] = work() if dist.get_rank() == 0 else None
    except (UserError, OSError) as error:
        answer[1] = error
    dist.broadcast_object_list(answer, 0)
    if answer[1] is not None:
        raise answer[1]
    return cast("Value", answer[0])
