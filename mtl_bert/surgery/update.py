"""An optimizer's step: left out if gradients are not finite, scaled by λ, in half precision."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer


@contextmanager
def skipped_if(missing: Tensor, optimizer: Optimizer) -> Iterator[bool]:
    """Have an optimizer leave everything as it is if a truth on the device says so.

    Fused optimizers, which work with torch's GradScaler, look on the device themselves; for others
    the host has to wait for the answer.

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
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


class SharedScale:
    """One fp16 scale for the losses of all tasks (Micikevicius et al. 2018, section 3.2).

    torch's GradScaler checks and unscales the gradients of one loss. Here K gradients are combined
    first, and the Gram matrix has already said whether all are finite: so the scaler's number is
    used and moved by its own rules, but its ``step`` is not called.

    Args:
        scaler: torch's; None scales by 1.
    """

    def __init__(self, scaler: GradScaler | None) -> None:
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None

    @property
    def in_use(self) -> bool:
        """Whether there is a scale at all."""
        return self._scaler is not None

    @property
    def value(self) -> float:
        """The factor on every loss."""
        return 1.0 if self._scaler is None else self._scaler.get_scale()

    def held(self) -> None:
        """Note a finite step: now and then a larger scale is tried."""
        if self._scaler is None:
            return
        state = self._scaler.state_dict()
        state["_growth_tracker"] += 1
        if state["_growth_tracker"] == state["growth_interval"]:
            state["scale"], state["_growth_tracker"] = state["scale"] * state["growth_factor"], 0
        self._scaler.load_state_dict(state)

    def overflowed(self) -> bool:
        """Note a step that was not finite: lower the scale, or say that it cannot be the cause."""
        if self._scaler is None or self.value <= 1:
            return False
        state = self._scaler.state_dict()
        state["scale"], state["_growth_tracker"] = state["scale"] * state["backoff_factor"], 0
        self._scaler.load_state_dict(state)
        return True
