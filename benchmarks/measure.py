"""Timing side by side, memory of a process of its own, and what the machine can do."""

import os
import platform
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch

MEBI = 2**20
Work = Callable[[], None]


def interleaved(
    contestants: Mapping[str, Callable[[], Work]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, everyone once per round in a random order.

    Args:
        contestants: each prepares, which is not timed, and returns what is.
        rounds: timed, after one that is not.
        clock: seconds; of one thread on a busy machine ``time.process_time`` tells more.
    """
    names, rng = list(contestants), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        rng.shuffle(names)
        for name in names:
            timed = contestants[name]()
            began = clock()
            timed()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def as_it_is(work: Work) -> Work:
    """What needs no preparation."""
    return work


def ratio(seconds: Mapping[str, list[float]], name: str, to: str) -> float:
    """The median over rounds of one contestant's time by another's in the same round."""
    return median(a / b for a, b in zip(seconds[name], seconds[to], strict=True))


def bandwidth() -> float:
    """Bytes per second that adding one resident array to another moves."""
    a, b = torch.ones(2, 64 * MEBI).unbind()
    moved = 3 * a.nbytes
    times = []
    for _ in range(9):
        began = time.perf_counter()
        a.add_(b)
        times.append(time.perf_counter() - began)
    return moved / min(times)


def resident() -> int:
    """Bytes of this process that are in memory now (Linux)."""
    return _status("VmRSS")


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes of this process that were in memory at once during some work (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # forget the peak so far
    work()
    return _status("VmHWM")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (kibi,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(kibi) * 1024


def machine() -> str:
    """What measures, in a line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text("utf-8").splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    malloc = {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    return (
        f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{platform.libc_ver()[0]} malloc with {malloc or 'its defaults'}"
    )
