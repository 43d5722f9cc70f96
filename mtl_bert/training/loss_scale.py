"""The factor that keeps small gradients from vanishing in fp16."""

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
