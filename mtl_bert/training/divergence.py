"""Training that leads nowhere: losses, gradients or predictions that stay not finite."""

import logging

from mtl_bert.runs.results import SkippedStep
from mtl_bert.utils.errors import UserError

log = logging.getLogger(__name__)


class DivergedError(UserError):
    """Losses, gradients or predictions that are not finite."""


class SkippedSteps:
    """The steps that a run had to skip; too many in a row end it.

    Args:
        limit: so many in a row are too many.

    Attributes:
        steps: all of the run's.
    """

    def __init__(self, limit: int) -> None:
        self.steps: list[SkippedStep] = []
        self._limit, self._in_a_row, self._diverged = limit, 0, False

    def taken(self) -> None:
        """Note a step that was taken."""
        self._in_a_row = 0

    def skipped(self, epoch: int, step: int, rows: dict[str, list[int]]) -> None:
        """Note a step that left weights and optimizer as they were.

        Args:
            epoch: counted from 1.
            step: of the epoch, from 0.
            rows: the tasks whose loss or gradient is not finite, and their rows.
        """
        self.steps.append(SkippedStep(epoch=epoch, step=step, rows=rows))
        self._in_a_row += 1
        self._diverged |= self._in_a_row == self._limit
        why = f"the loss or gradient of {', '.join(rows)} is not finite"
        log.warning("epoch %d, step %d skipped: %s (rows %s)", epoch, step, why, rows)

    def check(self, epoch: int, step: int) -> None:
        """Raise DivergedError once too many steps in a row were skipped."""
        if self._diverged:
            raise DivergedError(
                f"epoch {epoch}, step {step}: expected finite losses and gradients, "
                f"found none in {self._limit} steps in a row, last of "
                f"{', '.join(self.steps[-1].rows)}; a lower lr usually helps"
            )
