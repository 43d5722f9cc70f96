"""One step of training, in plain torch: what the paper's Figure 1 shows.

For each task that the step has: forward, loss, backward into the task's own row of gradients. From
the rows' Gram matrix come the tasks' weights; the weighted sum is the update. In a phase of one
task (ARRP's second) its plain gradient, times λ, goes to the parameters that are not frozen.

Everything random in a step is a function of (seed, epoch, step, rank), so that a run can go on in
the middle of an epoch with no generator to save.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.profiler import record_function

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling.epoch import Rows
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.sampling.same_texts import Texts, sharing
from mtl_bert.surgery import GradientMatrix, StepResult, Surgeon


def take_step(
    model: MultiTaskModel,
    surgeon: Surgeon,
    optimizer: Optimizer,
    step: PlanStep[Batch],
    *,
    seed: int,
    rank: int = 0,
    one_pass: bool = False,
    one_pass_cost: float = 1.0,
    same_texts: Sequence[Texts] = (),
    parts: Mapping[str, Sequence[str]] | None = None,
) -> StepResult:
    """Take one step of the plan: forward and backward passes, surgery, one update.

    Args:
        step: its phase, and its batches on the model's device.
        one_pass: all tasks go through the encoder together, not one after another: the same
            gradients to rounding, but dropout draws other masks.
        one_pass_cost: what one pass for all tasks costs, by a pass for each.
        same_texts: groups of tasks whose examples are labels of the same texts, by their numbers:
            where their batches hold the same ones, and it costs less, each text goes through the
            encoder once, and each task's loss backward.
        parts: names of parameters whose Gram matrices are wanted by themselves (an encoder's
            layers), by any name.
    """
    seed_dropout(seed, step.epoch, step.number, rank)
    order = order_generator(seed, step.epoch, step.number)
    otherwise = one_pass_cost if one_pass else 1.0
    shared = sharing(step.plan, same_texts, otherwise) if model.encodes_alike else []
    numbers = {task: texts for group in same_texts for task, texts in group.items()}
    with surgeon.step(
        optimizer,
        step.phase,
        tasks={task: len(step.parts[task]) for task in step.tasks},
        by_layer=one_pass and sum(map(len, shared)) < len(step.tasks) - 1,
        generator=order,
        parts=parts,
        epoch=step.epoch,
    ):
        for found, once in _at_once(step, one_pass, shared):
            batches = {task: part.batch for task, part in found.items()}
            texts = {t: numbers[t][batch.rows] for t, batch in batches.items()} if once else None
            with nullcontext() if once else in_one_pass(surgeon, model, batches):
                with record_function(f"forward {', '.join(batches)}"):
                    losses = losses_of(model, batches, texts)
                surgeon.backward(losses, share={task: part.share for task, part in found.items()})
    return surgeon.last


def _at_once(
    step: PlanStep[Batch], one_pass: bool, shared: Sequence[Sequence[str]]
) -> Iterator[tuple[dict[str, Part[Batch]], bool]]:
    """What goes through the model at once: a part of one task, of those that share, or of all.

    With it whether these share.
    """
    others = [task for task in step.parts if not any(task in tasks for tasks in shared)]
    for tasks in [*shared, *([others] if one_pass else ([task] for task in others))]:
        for parts in zip_longest(*(step.parts[task] for task in tasks)):
            yield {t: p for t, p in zip(tasks, parts, strict=True) if p}, tasks in shared


def in_one_pass(
    of: Surgeon | GradientMatrix, model: MultiTaskModel, batches: Mapping[str, Batch]
) -> AbstractContextManager[None]:
    """Where there are several tasks, take them through the encoder at once."""
    return of.one_pass(model.trunk, *model.sizes(batches)) if len(batches) > 1 else nullcontext()


def losses_of(
    model: MultiTaskModel, batches: Mapping[str, Batch], texts: Mapping[str, Rows] | None = None
) -> dict[str, Tensor]:
    """Each task's loss, in one pass through the model.

    Of labels of the same texts ``texts`` has the number of each example's text: [B] each.
    """
    outputs: Mapping[str, Tensor] = {}
    if texts is not None or len(batches) > 1:
        outputs = model.together(batches, texts)
    return {task: task_loss(model, task, batches[task], outputs.get(task)) for task in batches}


def task_loss(
    model: MultiTaskModel, task: str, batch: Batch, outputs: Tensor | None = None
) -> Tensor:
    """The mean loss of a task's examples, in full precision whatever surrounds it.

    ``outputs`` are those of the task's head, where the batch has been through the model.
    """
    outputs = model(task, batch) if outputs is None else outputs
    labels = batch.labels
    assert labels is not None
    if labels.is_floating_point():
        labels = labels.to(outputs.dtype)
    with torch.autocast(outputs.device.type, enabled=False):
        loss: Tensor = model.tasks[task].loss(outputs, labels)
    return loss


DROPOUT, ORDER = 0, 1


def _number(seed: int, purpose: int, epoch: int, step: int, rank: int) -> int:
    state = np.random.SeedSequence((seed, purpose, epoch, step, rank)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seed_dropout(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch's generators for what the model draws in a step."""
    torch.manual_seed(_number(seed, DROPOUT, epoch, step, rank))


def order_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The generator of a step's projection order, the same in every process."""
    return torch.Generator().manual_seed(_number(seed, ORDER, epoch, step, rank=0))
