"""Optimizers that come to grief, for sweeps in which some jobs do."""

import os
import signal
from typing import Any


def crash(parameters: Any, **settings: Any) -> Any:
    raise RuntimeError("the disk is gone")


def be_killed(parameters: Any, **settings: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
