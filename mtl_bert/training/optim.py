"""Learning-rate schedules, by transformers' names."""

import transformers
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# Of transformers' schedules, those that neither need settings of their own nor follow a metric.
NAMES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt",
)  # fmt: skip


def schedule(optimizer: Optimizer, steps: int, *, name: str, warmup_ratio: float) -> LRScheduler:
    """Make a schedule for a run of so many steps; over a share of them the rate rises from 0."""
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
