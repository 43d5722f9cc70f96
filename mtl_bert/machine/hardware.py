"""What a run takes of the machine, where its settings leave that open."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mtl_bert.config.settings import Settings, TrainerSettings

CGROUP = Path("/sys/fs/cgroup")


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


def usable_threads(cgroup: Path = CGROUP) -> int:
    """Torch's own choice, unless a container's share of the processors is smaller.

    OpenMP knows which processors a process may use, and nothing of quotas: in a container with two
    of sixty-four it starts sixty-four threads that wait for each other.
    """
    quota = _quota(cgroup)
    return torch.get_num_threads() if quota is None else min(torch.get_num_threads(), quota)


def _quota(cgroup: Path) -> int | None:
    """Processors' worth of time that a container gives, rounded up; None is no limit."""
    try:
        if (cgroup / "cpu.max").exists():  # version 2
            limit, period = (cgroup / "cpu.max").read_text("ascii").split()
        else:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text("ascii")
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text("ascii")
        share = int(limit) / int(period)
    except (OSError, ValueError):  # no such files, or "max"
        return None
    return max(1, math.ceil(share)) if share > 0 else None  # version 1 writes -1


def imitates_bf16(trainer: TrainerSettings) -> bool:
    """Whether a run in bf16 goes to a processor that is known to have no instructions for it.

    Such a processor computes in fp32 and rounds: three times as long as fp32 alone
    (`benchmarks/README.md`). Older versions of torch do not tell.
    """
    if on_gpu(trainer.accelerator) or not trainer.precision.startswith("bf16"):
        return False
    told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told) and not any(told[name] for name in told if "bf16" in name)


def in_words(settings: Settings, device: str, *, packs: bool) -> str:
    """What a run computes with, in a line."""
    trainer = settings.trainer
    several = f"{settings.processes} processes, " if settings.processes > 1 else ""
    padding = "batches without padding" if packs else "padded batches"
    words = f"on {device}: {several}precision {trainer.precision}, {padding}"
    if imitates_bf16(trainer):
        words += "; no instructions for bf16 here: trainer.precision=32-true is faster"
    return words
