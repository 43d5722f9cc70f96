"""Running out of memory, told as the setting to lower."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from math import gcd

import torch

from mtl_bert.data.batch import Batch
from mtl_bert.machine.hardware import usable_memory
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.utils.errors import UserError


class OutOfMemoryError(UserError):
    """A step or a validation that does not fit the device's memory."""


@dataclass(frozen=True)
class OutOfMemory:
    """The settings that decide how much goes through the model at once."""

    batch_size: int  # of each task, in each process
    accumulate: int  # parts, of batch_size each, of a step's batch
    eval_batch_size: int
    own: Mapping[str, int] = field(default_factory=dict)  # of tasks that have one

    def in_step(
        self, step: PlanStep[Batch], *, one_pass: bool = False
    ) -> AbstractContextManager[None]:
        """Raise OutOfMemoryError for an error in a training step that is one of memory."""
        by = _least_divisor(gcd(self.batch_size, *self.own.values()))
        sizes = [f"batch_size={self.batch_size // by}"]
        sizes += [f"tasks.{task}.batch_size={size // by}" for task, size in self.own.items()]
        parts = f"trainer.accumulate_grad_batches={self.accumulate * by}"
        advice = f"{' '.join(sizes)} {parts}, which trains the same"
        if by == 1:
            advice = f"batch_size={max(1, self.batch_size // 2)} hydra.run.dir=ANOTHER"
        if together := one_pass and len(step.parts) > 1:
            advice = "trainer.passes=per_task, which trains the same but for dropout's masks"
        lead = f"batch_size={self.batch_size}: expected room for a step of {step.phase.name}"
        return _explained(lead, step, advice, together=together)

    def in_validation(self, step: PlanStep[Batch]) -> AbstractContextManager[None]:
        """The same in a validation."""
        lead = f"trainer.eval_batch_size={self.eval_batch_size}: expected room for a validation"
        size = self.eval_batch_size // _least_divisor(self.eval_batch_size)
        advice = f"trainer.eval_batch_size={size}, which scores the same"
        return _explained(lead, step, advice)


@contextmanager
def _explained(
    lead: str, step: PlanStep[Batch], advice: str, *, together: bool = False
) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        shortage = _shortage(error)
        if shortage is None:
            raise
        all_parts = [(task, batch) for task, parts in step.parts.items() for batch, _ in parts]
        sizes = ((len(batch), batch.max_seqlen, task) for task, batch in all_parts)
        count, longest, of = max(sizes, default=(0, 0, "any task"))
        if together:
            longest = max(batch.max_seqlen for _, batch in all_parts)
            of = f"each of {len(step.parts)} tasks"
        elif count == 1:  # smaller batches there are none
            advice = f"model.max_length={max(8, longest // 2)} hydra.run.dir=ANOTHER"
        raise OutOfMemoryError(
            f"{lead} ({count} of {of} at once, the longest of {longest} tokens), "
            f"found {shortage}; write {advice}"
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


def _least_divisor(size: int) -> int:
    """Of a batch, above 1: 2, if it is even. Of 1 itself it is 1."""
    return next((by for by in range(2, size + 1) if size % by == 0), 1)
