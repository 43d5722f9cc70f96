"""When a run has diverged: its losses, gradients or predictions stay not finite."""

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import SkippedStep
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.utils.errors import UserError


class DivergedError(UserError):
    """Losses, gradients or predictions that stay not finite."""


class Divergence:
    """Counts the steps in a row that were skipped.

    Args:
        limit: so many of them end the run.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._in_a_row, self._reached = limit, 0, False

    def count(self, *, skipped: bool) -> None:
        """Count a step."""
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        self._reached |= self._in_a_row == self._limit

    def check(self, step: PlanStep[Batch], skipped: list[SkippedStep]) -> None:
        """Raise DivergedError after a step if too many in a row were skipped."""
        if self._reached:
            raise DivergedError(
                f"epoch {step.epoch}, step {step.number}: expected finite losses and gradients, "
                f"found none in {self._limit} steps in a row, last of "
                f"{', '.join(skipped[-1].rows)}; a lower lr usually helps"
            )
