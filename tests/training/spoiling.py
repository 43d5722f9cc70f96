"""Losses that are not finite, in the steps of a run that a test names."""

import pytest
from torch import Tensor

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.surgery import StepResult
from mtl_bert.training import module as module_file
from mtl_bert.training import step as step_file


def spoil(
    monkeypatch: pytest.MonkeyPatch, *steps: int, factor: float = float("nan"), only: str = ""
) -> None:
    """Multiply losses by ``factor`` in these steps of the run, of one task or of all."""
    take, loss_of, count = step_file.take_step, step_file.task_loss, -1

    def counted(*args: object, **settings: object) -> StepResult:
        nonlocal count
        step = args[3]
        assert isinstance(step, PlanStep)
        begins = (step.epoch, step.number) == (1, 0)  # a test may have several runs
        count = 0 if begins else count + 1
        return take(*args, **settings)  # type: ignore[arg-type]

    def spoilt(model: MultiTaskModel, task: str, batch: Batch, *outputs: Tensor) -> Tensor:
        loss = loss_of(model, task, batch, *outputs)
        return loss * factor if count in steps and only in ("", task) else loss

    monkeypatch.setattr(module_file, "take_step", counted)
    monkeypatch.setattr(step_file, "task_loss", spoilt)
