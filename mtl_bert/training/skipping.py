"""Steps that are skipped, as the loss or gradient of some task is not finite."""

import logging

from mtl_bert.data.batch import Batch
from mtl_bert.runs.results import SkippedStep
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.surgery import StepResult

log = logging.getLogger(__name__)


def skipped_step(step: PlanStep[Batch], result: StepResult) -> SkippedStep:
    """Say and note that a step left weights and optimizer as they were, and for which rows."""
    rows = {task: step.plan.rows[task].tolist() for task in result.skipped}
    why = f"the loss or gradient of {', '.join(rows)} is not finite"
    log.warning("epoch %d, step %d skipped: %s (rows %s)", step.epoch, step.number, why, rows)
    return SkippedStep(epoch=step.epoch, step=step.number, rows=rows)
