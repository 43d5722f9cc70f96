"""What a run takes of the machine, where its settings leave that open."""

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from mtl_bert.config.settings import Settings, TrainerSettings

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def on_gpu(accelerator: str) -> bool:
    """Whether a run with this setting computes on a GPU of this machine."""
    return accelerator != "cpu" and torch.cuda.is_available()


def resolved(settings: Settings) -> Settings:
    """The settings with a precision that is chosen for this machine, if it was left to it.

    bf16 on GPUs that have it. CPUs stay with 32 bits: what bf16 brings there depends on the
    processor, the encoder's size and the number of threads (`benchmarks/README.md`).
    """
    trainer = settings.trainer
    if trainer.precision != "auto":
        return settings
    half = on_gpu(trainer.accelerator) and torch.cuda.is_bf16_supported(including_emulation=False)
    chosen = trainer.model_copy(update={"precision": "bf16-mixed" if half else "32-true"})
    return settings.model_copy(update={"trainer": chosen})


def wants_packing(trainer: TrainerSettings) -> bool:
    """Whether batches go without padding; by default where that was measured to be faster."""
    return not on_gpu(trainer.accelerator) if trainer.packing is None else trainer.packing


def usable_threads(cgroup: Path = CGROUP, own: Path = OWN_CGROUPS) -> int:
    """Torch's own choice, unless a container's share of the processors is smaller.

    OpenMP knows which processors a process may use, and nothing of quotas: in a container with two
    of sixty-four it starts sixty-four threads that wait for each other.
    """
    shares = [torch.get_num_threads()]
    for group in _groups("cpu", cgroup, own):
        limit = _numbers(group / "cpu.max") or (  # version 2, then version 1
            _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        )
        if len(limit) == 2 and limit[0] > 0:  # version 1 writes -1 for no limit
            shares.append(max(1, math.ceil(limit[0] / limit[1])))
    return min(shares)


def usable_memory(cgroup: Path = CGROUP, own: Path = OWN_CGROUPS) -> int:
    """Bytes of memory that this process may use: the machine's, or less in a container or job."""
    bytes_ = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _groups("memory", cgroup, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            bytes_ += _numbers(group / name)
    return min(bytes_)


def return_freed_memory() -> None:
    """Give memory that has been freed back to the system, where the C library can.

    glibc's malloc keeps what is freed in pieces between the few things that live on; tensors of
    other sizes do not fit into them, and a process that computes in parts grows with every part.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim:
            trim(0)


def _groups(controller: str, cgroup: Path, own: Path) -> Iterator[Path]:
    """The control groups that limit this process: its own and all that those are part of."""
    for line in own.read_text("utf-8").splitlines() if own.is_file() else ():
        _, controllers, path = line.split(":", 2)  # 0::/a/b in version 2, 3:cpu,cpuacct:/a/b in 1
        if controller in controllers.split(",") or not controllers:
            root = cgroup / controller if controllers else cgroup
            place = root / path.lstrip("/")
            yield from (at for at in (place, *place.parents) if at.is_relative_to(root))


def _numbers(path: Path) -> list[int]:
    """What a control group's file says; nothing where there is none or it says "max"."""
    try:
        return [int(word) for word in path.read_text("ascii").split()]
    except (OSError, ValueError):
        return []


def in_words(settings: Settings, device: str, *, packs: bool) -> str:
    """What a run computes with, in a line.

    A processor without instructions for bf16 computes in fp32 and rounds: three times as long as
    fp32 alone (`benchmarks/README.md`). Older versions of torch do not tell.
    """
    trainer = settings.trainer
    several = f"{settings.processes} processes, " if settings.processes > 1 else ""
    padding = "batches without padding" if packs else "padded batches"
    words = f"on {device}: {several}precision {trainer.precision}, {padding}"
    if trainer.precision.startswith("bf16") and not on_gpu(trainer.accelerator):
        told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        if told and not any(told[name] for name in told if "bf16" in name):
            words += "; no instructions for bf16 here: trainer.precision=32-true is faster"
    return words
