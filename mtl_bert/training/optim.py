"""Which parameters learn how fast: groups of an optimizer, and learning-rate schedules."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
import transformers
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# Of transformers' schedules, those that neither need settings of their own nor follow a metric.
NAMES = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt",
)  # fmt: skip
LAYER = re.compile(r"\.(?:layers?|blocks?|h)\.(\d+)\.")


def adamw(
    parameters: Iterable[tuple[str, Parameter]],
    *,
    lr: float,
    weight_decay: float,
    no_decay: Sequence[str] = (),
    head_lr: float | None = None,
    layer_decay: float | None = None,
    **settings: Any,
) -> torch.optim.AdamW:
    """Make AdamW with groups of parameters.

    Args:
        parameters: with their names.
        lr: learning rate.
        weight_decay: of all parameters but those of ``no_decay``.
        no_decay: patterns of names, whatever their case.
        head_lr: the heads' own learning rate; None is the same.
        layer_decay: factor on the rate from each layer of the encoder to the one below it, the
            embeddings being below the first; None is 1 (Howard and Ruder 2018, discriminative
            fine-tuning).
        settings: torch's own, for example betas and eps.

    Raises:
        ValueError: a layer_decay that is not above 0 and up to 1, or a negative head_lr.
    """
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay: expected a number > 0 and ≤ 1, found {layer_decay}")
    if head_lr is not None and head_lr < 0:
        raise ValueError(f"head_lr: expected a number ≥ 0, found {head_lr}")
    named = list(parameters)
    layers = 1 + max((int(n) for name, _ in named for n in LAYER.findall(name)), default=-1)
    groups: dict[tuple[float, float], list[tuple[str, Parameter]]] = {}
    for name, parameter in named:
        rate = lr
        if name.startswith("heads."):
            rate = lr if head_lr is None else head_lr
        elif layer_decay is not None:
            found = LAYER.search(name)
            depth = int(found[1]) + 1 if found else 0 if "embed" in name else layers + 1
            rate = lr * layer_decay ** (layers + 1 - depth)
        free = any(fnmatchcase(name.lower(), pattern.lower()) for pattern in no_decay)
        groups.setdefault((rate, 0.0 if free else weight_decay), []).append((name, parameter))
    # What is logged is the first group's rate.
    first = sorted(groups, key=lambda key: (key[0] != lr, key[1] != weight_decay))
    made = [{"params": groups[key], "lr": key[0], "weight_decay": key[1]} for key in first]
    return torch.optim.AdamW(made, lr=lr, weight_decay=weight_decay, **settings)


def schedule(
    optimizer: Optimizer,
    steps: int,
    *,
    name: str,
    warmup_ratio: float,
    warmup_steps: int | None = None,
) -> LRScheduler:
    """Make a schedule for a run of so many steps, or a stage of it that starts over.

    The rate rises from 0 over a share of them, or over ``warmup_steps`` where that is given.
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
    if warmup_steps is not None and not 0 <= warmup_steps <= steps:
        raise ValueError(
            f"scheduler.warmup_steps: expected a number from 0 to the {steps:,} steps of the run, "
            "or of its shorter stage, found "
            f"{warmup_steps!r}; write scheduler.warmup_ratio=0.1"
        )
    rising = round(warmup_ratio * steps) if warmup_steps is None else warmup_steps
    made: LRScheduler = transformers.get_scheduler(name, optimizer, rising, steps)
    return made
