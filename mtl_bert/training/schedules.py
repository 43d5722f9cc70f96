"""Learning-rate schedules, by transformers' names."""

import transformers
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


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
    known = [kind.value for kind in transformers.SchedulerType]
    if name not in known:
        raise ValueError(
            f"scheduler.name: expected one of {', '.join(known)}, found {name!r}; "
            "write scheduler=linear"
        )
    if not 0 <= warmup <= 1:
        raise ValueError(
            f"scheduler.warmup: expected a share from 0 to 1, found {warmup}; "
            "write scheduler.warmup=0.1"
        )
    made: LRScheduler = transformers.get_scheduler(name, optimizer, round(warmup * steps), steps)
    return made
