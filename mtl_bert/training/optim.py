"""What an optimizer's step needs besides gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# Of transformers' schedules, those that neither need settings of their own nor follow a metric.
NAMES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt",
)  # fmt: skip


def schedule(optimizer: Optimizer, steps: int, *, name: str, warmup_ratio: float) -> LRScheduler:
    """Make a schedule for a run.

    Args:
        optimizer: whose rate is scheduled.
        steps: optimizer steps of the whole run.
        name: as ``transformers.get_scheduler`` calls it.
        warmup_ratio: share of the steps over which the rate rises from 0.

    Raises:
        ValueError: an unknown name or a share outside 0..1.
    """
    if name not in NAMES:
        raise ValueError(
            f"scheduler.name: expected one of {', '.join(NAMES)}, found {name!r}; "
            "write scheduler=linear"
        )
    if not (isinstance(warmup_ratio, int | float) and 0 <= warmup_ratio <= 1):
        raise ValueError(
            f"scheduler.warmup_ratio: expected a share from 0 to 1, found {warmup_ratio!r}; "
            "write scheduler.warmup_ratio=0.1"
        )
    warmup_steps = round(warmup_ratio * steps)
    made: LRScheduler = transformers.get_scheduler(name, optimizer, warmup_steps, steps)
    return made


DROPOUT, ORDER = 0, 1


def _number(seed: int, purpose: int, epoch: int, step: int, rank: int) -> int:
    state = np.random.SeedSequence((seed, purpose, epoch, step, rank)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seed_dropout(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch's generators for what the model draws in a step."""
    torch.manual_seed(_number(seed, DROPOUT, epoch, step, rank))


def order_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The generator of a step's projection order, the same in every process."""
    return torch.Generator().manual_seed(_number(seed, ORDER, epoch, step, rank=0))


LARGEST, GROWTH_INTERVAL = 2.0**16, 2000  # where torch's GradScaler starts, and how it grows


class LossScale:
    """One factor on all tasks' losses, found as it goes (Micikevicius et al. 2018, section 3.2).

    torch's GradScaler scales and checks the gradients of one loss; here K of them are combined
    first, and the Gram matrix has already told whether all are finite.

    Args:
        enabled: otherwise the factor is 1 and stays so.
        state: of another, to go on with.
    """

    def __init__(self, enabled: bool, state: tuple[float, int] | None = None) -> None:
        self.enabled = enabled
        self.value, self._held = state or (LARGEST if enabled else 1.0, 0)

    def state(self) -> tuple[float, int]:
        """What another needs to go on."""
        return self.value, self._held

    def held(self) -> None:
        """All was finite; now and then a larger factor is tried."""
        self._held += 1
        if self.enabled and self._held == GROWTH_INTERVAL:
            self.value, self._held = self.value * 2, 0

    def overflowed(self) -> bool:
        """Something was not finite: halve the factor, or say that it cannot be the cause."""
        if self.value <= 1:
            return False
        self.value, self._held = self.value / 2, 0
        return True


@contextmanager
def unless(missing: Tensor, optimizer: Optimizer) -> Iterator[bool]:
    """Have an optimizer leave everything as it is if a truth on the device says so.

    Those that work with torch's GradScaler (the fused ones) look on the device themselves; for
    others it has to be waited for.

    Yields:
        Whether to step at all.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        yield not missing
        return
    optimizer.found_inf = missing.float()  # type: ignore[attr-defined]
    try:
        yield True
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]


@contextmanager
def scaled_update(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """Scale the optimizer's whole update, weight decay included, for one step."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor
    yield
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
