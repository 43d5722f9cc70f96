"""What single things take: a task's examples there and back, a validation's, the optimizer."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from mtl_bert.data.batch import Batch
from mtl_bert.memory.tracking import LiveBytes, size
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix, LocalRows

HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def computing(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which a step of such a precision computes."""
    if precision not in HALF:
        return nullcontext()
    return torch.autocast(device.type, HALF[precision])


@dataclass(frozen=True)
class Part:
    """What a task's examples take on their way through the model and back, in bytes.

    Attributes:
        saved: what is left of the forward pass for the way back: the activations.
        peak: the most at once, the gradient included.
        row: the gradient.
        touched: of which in the rows of embeddings that were touched.
        kept: what stays besides the gradient until the step ends: autocast's copies of weights.
    """

    saved: int
    peak: int
    row: int
    touched: int
    kept: int


def there_and_back(
    model: MultiTaskModel, task: str, batch: Batch, parameters: Sequence[Parameter], precision: str
) -> Part:
    """Take a batch forward and backward, counting."""
    there = [*model.parameters(), *model.buffers()]
    rows, live = LocalRows(), LiveBytes(there)
    matrix = GradientMatrix(parameters, rows)
    model.train()
    with computing(there[0].device, precision), live:
        loss = _loss(model, task, batch)
        activations = live.now
        matrix.add(task, loss)
        del loss
        (row,) = rows.take().rows
        total = size(row)
        touched = size(entry for entry in row if entry is not None and entry.is_sparse)
        return Part(activations, live.peak, total, touched, max(0, live.now - total))


def answering(model: MultiTaskModel, task: str, batch: Batch, precision: str) -> int:
    """The most at once of a batch that is only predicted."""
    there = [*model.parameters(), *model.buffers()]
    live = LiveBytes(there)
    model.eval()
    with torch.inference_mode(), computing(there[0].device, precision), live:
        model(task, batch)
    return live.peak


@dataclass(frozen=True)
class Stepping:
    """What an optimizer takes, in bytes.

    Attributes:
        state: what it keeps.
        scratch: what a step needs besides.
        known: whether its own step was followed; if not, the state is taken to be AdamW's.
    """

    state: int
    scratch: int
    known: bool = True


def stepping(optimizer: Optimizer, trained: Sequence[Parameter]) -> Stepping:
    """Take an optimizer's first step, in which some parameters have gradients, counting."""
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    groups = (group["params"] for group in optimizer.param_groups)
    there = [p for group in groups for p in group] + [p.grad for p in trained]
    live, known = LiveBytes(there), True
    try:
        with live:
            optimizer.step()
    except RuntimeError:  # perhaps it looks at numbers, of which there are none here
        known = all(parameter in optimizer.state for parameter in trained)
    for parameter in trained:
        parameter.grad = None
    if not known:
        return Stepping(2 * size(trained), 0, known=False)
    state = size(value for of in optimizer.state.values() for value in of.values())
    return Stepping(state, max(0, live.peak - state))


def _loss(model: MultiTaskModel, task: str, batch: Batch) -> torch.Tensor:
    outputs, labels = model(task, batch), batch.labels
    assert labels is not None
    if labels.is_floating_point():
        labels = labels.to(outputs.dtype)
    with torch.autocast(outputs.device.type, enabled=False):
        loss: torch.Tensor = model.tasks[task].loss(outputs, labels)
    return loss
