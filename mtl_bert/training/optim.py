"""Learning-rate schedules, by transformers' names."""

import transformers
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# Of transformers' schedules, those that neither need settings of their own nor follow a metric.
NAMES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt",
)  # fmt: skip


def schedule(optimizer: Optimizer, steps: int, *, name: str, warmup: float) -> LRScheduler:
    """Make a schedule for a run.

    Args:
        optimizer: whose rate is scheduled.
        steps: optimizer steps of the whole run.
        name: as ``transformers.get_scheduler`` calls it.
        warmup: share of the steps over which the rate rises from 0.

    Raises:
        ValueError: an unknown name or a share outside 0..1.
    """
    if name not in NAMES:
        raise ValueError(
            f"scheduler.name: expected one of {', '.join(NAMES)}, found {name!r}; "
            "write scheduler=linear"
        )
    if not (isinstance(warmup, int | float) and 0 <= warmup <= 1):
        raise ValueError(
            f"scheduler.warmup: expected a share from 0 to 1, found {warmup!r}; "
            "write scheduler.warmup=0.1"
        )
    made: LRScheduler = transformers.get_scheduler(name, optimizer, round(warmup * steps), steps)
    return made
