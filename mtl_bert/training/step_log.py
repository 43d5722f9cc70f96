"""What the steps of a run came to, read off the device and added up."""

from collections.abc import Mapping
from typing import Any

import torch

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import SkippedStep
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.surgery import StepResult
from mtl_bert.surgery.diagnostics import diagnose
from mtl_bert.training.divergence import Divergence
from mtl_bert.training.meters import EpochSums
from mtl_bert.training.skipping import skipped_step

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
        self._epoch, self._resumed = EpochSums(), EpochSums()
        self._skipped: list[SkippedStep] = []
        self._divergence = Divergence(skip_limit)
        self._unread: list[tuple[PlanStep[Batch], StepResult]] = []
        self._layers_every, self.overflows = layers_every, 0

    @property
    def epoch(self) -> EpochSums:
        """What the epoch's steps came to so far."""
        self.settle()
        return self._epoch

    @property
    def skipped(self) -> list[SkippedStep]:
        """The steps whose losses or gradients were not finite."""
        self.settle()
        return self._skipped

    def layers_due(self) -> bool:
        """Whether the next step is one to look at the conflicts in each layer."""
        every = self._layers_every
        return every is not None and self._epoch.several % every == 0

    def add(self, step: PlanStep[Batch], result: StepResult) -> None:
        """Note a step; of a step without surgery the outcome may be read later."""
        self._unread.append((step, result))
        device = result.numbers.device.type
        if step.phase.surgery or len(self._unread) >= UNREAD.get(device, UNREAD_ELSEWHERE):
            self.settle()

    def settle(self) -> None:
        """Read the outcomes that are still on the device, in one transfer."""
        unread, self._unread = self._unread, []
        alone = [result for step, result in unread if not step.phase.surgery]
        read = torch.stack([result.numbers for result in alone]).cpu() if alone else ()
        for result, numbers in zip(alone, read, strict=True):
            result.numbers = numbers
        for step, result in unread:
            if result.overflowed:  # fp16's own affair: the next step has a smaller scale
                self.overflows += 1
            elif result.skipped:
                self._skipped.append(skipped_step(step, result))
                self._divergence.count(skipped=True)
            else:
                self._take(step.phase.name, result, several=step.phase.surgery)

    def check(self, step: PlanStep[Batch]) -> None:
        """Raise DivergedError once too many steps in a row were skipped."""
        self._divergence.check(step, self._skipped)

    def begin_epoch(self) -> None:
        """Forget the losses and conflicts of the epoch before."""
        self.settle()
        self._epoch, self._resumed = self._resumed, EpochSums()

    def state(self, *, within: bool) -> dict[str, Any]:
        """What another log needs to go on, within an epoch or before one."""
        self.settle()
        return {
            "epoch": (self._epoch if within else EpochSums()).model_dump(),
            "skipped": [step.model_dump() for step in self._skipped],
            "overflows": self.overflows,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state`` when an epoch begins."""
        self._resumed, self.overflows = EpochSums(**state["epoch"]), state["overflows"]
        self._skipped = [SkippedStep(**step) for step in state["skipped"]]

    def _take(self, phase: str, result: StepResult, *, several: bool) -> None:
        self._divergence.count(skipped=False)
        self._epoch.add_losses(result.losses)
        if several:
            assert result.weighing is not None
            found = diagnose(result, result.weighing, result.summed)
            self._epoch.add(phase, found, result.grams)
        else:
            self._epoch.add_alone(phase, result.tasks[0], float(result.gram.sqrt()))
