"""Optimizers that come to grief or take their time, for sweeps in which some jobs do."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from torch.optim import AdamW


def crash(parameters: Any, **settings: Any) -> Any:
    raise RuntimeError("the disk is gone")


def be_killed(parameters: Any, **settings: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(parameters: Any, **settings: Any) -> AdamW:
    """AdamW that waits a moment before every step but the first five, while a file says so."""
    optimizer, steps = AdamW(parameters, **settings), 0

    def wait(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps > 5 and Path("linger").exists():
            time.sleep(0.5)

    optimizer.register_step_pre_hook(wait)
    return optimizer
