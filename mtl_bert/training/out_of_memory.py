"""Running out of memory, told as the setting to lower."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from mtl_bert.data.batch import Batch
from mtl_bert.machine.hardware import usable_memory
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.utils.errors import UserError


class OutOfMemoryError(UserError):
    """A step or a validation that does not fit the device's memory."""


@dataclass(frozen=True)
class OutOfMemory:
    """The settings that decide how much goes through the model at once.

    Attributes:
        batch_size: of each task, in each process.
        accumulate: parts, of ``batch_size`` each, of a step's batch.
        eval_batch_size: of a validation's batch.
    """

    batch_size: int
    accumulate: int
    eval_batch_size: int

    def in_step(
        self, step: PlanStep[Batch], *, one_pass: bool = False
    ) -> AbstractContextManager[None]:
        """Raise OutOfMemoryError for an error in a training step that is one of memory."""
        size = _half(self.batch_size)
        parts = self.accumulate * self.batch_size // size
        advice = f"batch_size={size} trainer.accumulate_grad_batches={parts}, which trains the same"
        lead = f"batch_size={self.batch_size}"
        together = one_pass and len(step.parts) > 1
        if together:
            advice = "trainer.passes=per_task, which trains the same but for dropout's masks"
        return _explained(lead, f"a step of {step.phase.name}", step, advice, together=together)

    def in_validation(self, step: PlanStep[Batch]) -> AbstractContextManager[None]:
        """The same in a validation."""
        size = self.eval_batch_size
        advice = f"trainer.eval_batch_size={_half(size)}, which scores the same"
        return _explained(f"trainer.eval_batch_size={size}", "a validation", step, advice)


@contextmanager
def _explained(
    lead: str, what: str, step: PlanStep[Batch], advice: str, *, together: bool = False
) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        shortage = _shortage(error)
        if shortage is None:
            raise
        count, longest, task = max(
            (len(batch), batch.max_seqlen, task)
            for task, parts in step.parts.items()
            for batch, _ in parts
        )
        of = task
        if together:
            longest = max(batch.max_seqlen for parts in step.parts.values() for batch, _ in parts)
            of = f"each of {len(step.parts)} tasks"
        elif count == 1:  # smaller batches there are none
            advice = f"model.max_length={max(8, longest // 2)} hydra.run.dir=ANOTHER"
        raise OutOfMemoryError(
            f"{lead}: expected room for {what} ({count} of {of} at once, the longest of "
            f"{longest} tokens), found {shortage}; write {advice}"
        ) from error


def _shortage(error: RuntimeError) -> str | None:
    """Whose memory is full and how much was needed; None if the error is about something else."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        needed = re.search(r"Tried to allocate ([\d.]+ \w+)", text)
        there = re.search(r"total capacity of ([\d.]+ \w+)", text)
        numbers = [f"needed {needed[1]} more"] if needed else []
        numbers += [f"{there[1]} in all"] if there else []
        return "the GPU's memory full" + (f" ({', '.join(numbers)})" if numbers else "")
    asked = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", text)
    if asked is None:
        return None
    return (
        f"the machine's memory full (needed {int(asked[1]) / 2**20:,.0f} MiB more, "
        f"{usable_memory() / 2**30:,.0f} GiB in all)"
    )


def _half(size: int) -> int:
    """The largest part of a batch that divides it: half, if it is even."""
    return next((size // by for by in range(2, size + 1) if size % by == 0), 1)
