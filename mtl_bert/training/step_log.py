"""What the steps of a run came to: losses, conflicts between tasks, steps that were skipped."""

from collections.abc import Mapping
from typing import Any

import torch

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import SkippedStep
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.surgery import StepResult
from mtl_bert.surgery.diagnostics import diagnose
from mtl_bert.training.divergence import SkippedSteps
from mtl_bert.training.meters import ConflictMeter, LossMeter

UNREAD = {"cpu": 1}
UNREAD_ELSEWHERE = 16
"""Steps without surgery whose outcome is read at once, so that a GPU is rarely waited for."""


class StepLog:
    """Reads the outcomes of steps off the device and adds them up.

    Args:
        skip_limit: so many steps in a row without finite gradients end the run.
        layers_every: multi-task steps between two looks at the conflicts in each layer, from an
            epoch's first on; None never looks.

    Attributes:
        overflows: steps that fp16 could not hold; the scale is smaller after each.
    """

    def __init__(self, skip_limit: int, layers_every: int | None = None) -> None:
        self._losses, self._conflicts = LossMeter(), ConflictMeter()
        self._skipped, self._layers_every = SkippedSteps(skip_limit), layers_every
        self._unread: list[tuple[PlanStep[Batch], StepResult]] = []
        self.overflows = 0

    @property
    def losses(self) -> LossMeter:
        """The tasks' losses over the epoch and since the last reading."""
        self.settle()
        return self._losses

    @property
    def conflicts(self) -> ConflictMeter:
        """What the tasks did to each other over the epoch and since the last reading."""
        self.settle()
        return self._conflicts

    @property
    def skipped(self) -> list[SkippedStep]:
        """The steps whose losses or gradients were not finite."""
        self.settle()
        return self._skipped.steps

    def layers_due(self) -> bool:
        """Whether the next step is one to look at the conflicts in each layer."""
        every = self._layers_every
        return every is not None and self._conflicts.several % every == 0

    def add(self, step: PlanStep[Batch], result: StepResult) -> None:
        """Note a step; of a step without surgery the outcome may be read later."""
        self._unread.append((step, result))
        device = result.numbers.device.type
        if step.phase.surgery or len(self._unread) >= UNREAD.get(device, UNREAD_ELSEWHERE):
            self.settle()

    def settle(self) -> None:
        """Read the outcomes that are still on the device, in one transfer."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        alone = [result for step, result in unread if not step.phase.surgery]
        read = torch.stack([result.numbers for result in alone]).cpu() if alone else ()
        for result, numbers in zip(alone, read, strict=True):
            result.numbers = numbers
        for step, result in unread:
            if result.skipped:
                self._skip(step, result)
                continue
            self._take(result.losses)
            if step.phase.surgery:
                assert result.weighing is not None
                found = diagnose(result, result.weighing, result.summed)
                self._conflicts.add(step.phase.name, found, result.grams)
            else:
                (task,), norm = result.tasks, float(result.gram.sqrt())
                self._conflicts.add_alone(step.phase.name, task, norm)

    def check(self, step: PlanStep[Batch]) -> None:
        """Raise DivergedError once too many steps in a row were skipped."""
        self._skipped.check(step.epoch, step.number)

    def begin_epoch(self, state: dict[str, Any] | None = None) -> None:
        """Forget the losses and conflicts of the epoch before.

        Args:
            state: of the log of a run that goes on in the middle of the epoch.
        """
        self.settle()
        self._losses = LossMeter(state and state["losses"])
        self._conflicts = ConflictMeter(state and state["conflicts"])

    def state(self, *, within: bool) -> dict[str, Any]:
        """What another log needs to go on.

        Args:
            within: the run stands within an epoch, not before one.
        """
        self.settle()
        return {
            "losses": (self._losses if within else LossMeter()).state(),
            "conflicts": (self._conflicts if within else ConflictMeter()).state(),
            "skipped": [step.model_dump() for step in self._skipped.steps],
            "overflows": self.overflows,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with the skipped steps of a ``state``; ``begin_epoch`` takes the rest."""
        self._skipped.steps = [SkippedStep(**step) for step in state["skipped"]]
        self.overflows = state["overflows"]

    def _take(self, losses: Mapping[str, float]) -> None:
        for task, loss in losses.items():
            self._losses.add(task, loss)
        self._skipped.taken()

    def _skip(self, step: PlanStep[Batch], result: StepResult) -> None:
        if result.overflowed:  # fp16's own affair: the next step has a smaller scale
            self.overflows += 1
            return
        rows = {task: step.plan.rows[task].tolist() for task in result.skipped}
        self._skipped.skipped(step.epoch, step.number, rows)
