"""The most memory that a step and a validation take, from a model that has none.

A step goes from task to task: forward, where autograd keeps activations, and backward, where they
go and the task's row of gradients comes; then the rows are combined and the optimizer takes its
step. Each task's way is followed on fake tensors, operator by operator (`parts.py`, `tracking.py`);
what is held meanwhile is added up here. Not counted: the program itself and its data, what kernels
need inside, and what an allocator holds without use.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from mtl_bert.data.batch import Batch
from mtl_bert.memory.parts import Part, answering, stepping, there_and_back
from mtl_bert.memory.tracking import size
from mtl_bert.memory.work import Work
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery.freezing import frozen_names


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process: the most that there is of each thing, and of all at once.

    Attributes:
        parameters: of the model, with its buffers.
        optimizer: the optimizer's state.
        optimizer_known: whether that is its own; else it is taken to be AdamW's.
        gradients: the tasks' rows.
        combined: tables that sparse gradients are brought into; all else is written into a row.
        activations: of the examples that go through the model at once, as autograd keeps them.
        largest: the task with most of them, and how many examples; None if nothing is trained.
        step: all at once, at most, in a training step.
        validation: the same in a validation.
    """

    parameters: int
    optimizer: int
    optimizer_known: bool
    gradients: int
    combined: int
    activations: int
    largest: tuple[str, int] | None
    step: int
    validation: int


def estimate(
    model: MultiTaskModel,
    works: Sequence[Work],
    batch_of: Callable[[str, int], Batch],
    optimizer: Callable[[Iterable[Parameter]], Optimizer],
    *,
    eval_batch_size: int,
    precision: str = "32-true",
    processes: int = 1,
) -> Estimate:
    """Estimate the memory of one process.

    Args:
        model: as it is trained, of fake tensors.
        works: what there is to be done; nothing if the model is only evaluated.
        batch_of: a task and a number -> so many of its longest examples.
        optimizer: parameters -> optimizer.
        eval_batch_size: examples of a validation's batch.
        precision: as ``trainer.precision``.
        processes: that average their rows, which then wait in a buffer.
    """
    parameters = dict(model.named_parameters())
    sparse = processes == 1 and next(iter(parameters.values())).device.type == "cpu"
    tables = _set_sparse(model, sparse)  # as training does
    trained: set[str] = set()
    rows = highest = left = activations = 0
    largest = None
    for work in works:
        free = _freeze(model, work)
        trained |= {n for n in free for task in work.examples if model.reaches(task, n)}
        parts = []
        for task, count in work.examples.items():
            part = there_and_back(
                model, task, batch_of(task, count), list(free.values()), precision
            )
            parts.append(part)
            if part.saved > activations:
                activations, largest = part.saved, (task, count)
        together = sum(part.row for part in parts)
        rows = max(rows, together)
        if processes == 1:
            highest = max(highest, _of_a_step(parts, work.parts))
            left = max(left, *(part.row for part in parts))
        else:
            highest = max(highest, together + max(part.peak for part in parts))
            left = max(left, together)
    step = stepping(optimizer(model.parameters()), [parameters[name] for name in sorted(trained)])
    combined = size(table for name, table in tables.items() if name in trained)
    fixed = size([*model.parameters(), *model.buffers()])
    held = fixed + step.state + combined
    asked = (answering(model, t, batch_of(t, eval_batch_size), precision) for t in model.tasks)
    return Estimate(
        parameters=fixed,
        optimizer=step.state,
        optimizer_known=step.known,
        gradients=rows,
        combined=combined,
        activations=activations,
        largest=largest,
        step=held + max(highest, left + step.scratch),
        validation=held + left + max(asked),  # the combined gradient stays until the next step
    )


def _freeze(model: MultiTaskModel, work: Work) -> dict[str, Parameter]:
    """Freeze what a kind of step freezes; the parameters that are left."""
    frozen = frozen_names(work.frozen, [name for name, _ in model.named_parameters()])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _of_a_step(parts: Sequence[Part], times: int) -> int:
    """The most at once while the tasks of a step go through the model and are combined."""
    highest = held = 0
    for part in parts:
        highest = max(highest, held + part.peak)
        if times > 1:  # the row so far, the next part's, and their sum
            highest = max(highest, held + part.row + part.peak, held + 3 * part.row + part.kept)
        held += part.row
    # Touched rows are made unique, and then brought to those of all tasks.
    held += 2 * sum(part.touched for part in parts) + max(part.kept for part in parts)
    return max(highest, held)


def _set_sparse(model: MultiTaskModel, sparse: bool) -> dict[str, Parameter]:
    """Have gradients come as in training; the embeddings' tables for which they are sparse.

    Which rows are the padding's, which get no gradient, fake tensors cannot tell: all count.
    """
    model.set_sparse_gradients(sparse)
    tables: dict[str, Parameter] = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Embedding) and part.sparse:
            part.padding_idx = None
            tables[f"{name}.weight"] = model.get_parameter(f"{name}.weight")
    return tables
