"""What an optimizer's step needs besides gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.optim import Optimizer


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
