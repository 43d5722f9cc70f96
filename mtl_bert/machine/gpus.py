"""One GPU for each job of a sweep, where a machine has several."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.5  # seconds between two looks at which GPU is free


@contextmanager
def own_gpus(wanted: int) -> Iterator[None]:
    """Keep so many GPUs of this machine for this process, and wait for them if all are taken.

    Lock files keep them, so that jobs of several sweeps share a machine and a job that is killed
    gives back what it had. CUDA must not have started: it looks at the variable once. A single GPU
    is everybody's.
    """
    there = visible_gpus()
    with ExitStack() as stack:
        if len(there) > 1:
            os.environ[VISIBLE] = ",".join(_take(min(wanted, len(there)), there, stack))
        yield


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]  # starts no CUDA


def _take(wanted: int, there: Sequence[str], stack: ExitStack) -> list[str]:
    place = Path(tempfile.gettempdir()) / f"mtl-bert-gpus-{os.getuid()}"
    place.mkdir(exist_ok=True)
    taken: list[str] = []
    with FileLock(place / "taking.lock"):  # one takes at a time: two halves would wait for ever
        while len(taken) < wanted:
            for name in there:
                if name not in taken and len(taken) < wanted:
                    with suppress(Timeout):
                        stack.enter_context(FileLock(place / f"{name}.lock", blocking=False))
                        taken.append(name)
            time.sleep(PAUSE if len(taken) < wanted else 0)
    return taken
