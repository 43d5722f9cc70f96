"""Estimate the most memory that a training step and a validation take, without any weights.

The step is taken on fake tensors, operator by operator: for each task forward,
where autograd keeps activations, and backward, where they go and the task's row of gradients comes;
then the rows are combined and the optimizer takes its step. Fake tensors have shapes and types, go
through the same operators and the same autograd as real ones, and have no memory. Not counted: the
program itself and its data, what kernels need inside, and what an allocator holds without using it.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix
from mtl_bert.surgery.freezing import frozen_names
from mtl_bert.training.step import task_loss

if TYPE_CHECKING:
    from mtl_bert.sampling.usage import Work

HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process: the most that there is of each thing, and of all at once."""

    parameters: int  # of the model, with its buffers
    optimizer: int  # its state
    optimizer_known: bool  # its own step was followed; else the state is taken to be AdamW's
    gradients: int  # the tasks' rows
    combined: int  # dense tables that sparse gradients are combined into; all else is in a row
    activations: int  # what autograd keeps of examples that go through the model at once
    largest: dict[str, int]  # the tasks with most of them, their examples; empty trains nothing
    step: int  # all at once, at most, in a training step
    validation: int  # the same in a validation


def estimate(
    model: MultiTaskModel,
    works: "Sequence[Work]",
    batch_of: Callable[[str, int], Batch],
    optimizer: Callable[[Iterable[Parameter]], Optimizer],
    *,
    eval_batch_size: int,
    precision: str = "32-true",
    processes: int = 1,
    one_pass: bool = False,
) -> Estimate:
    """Estimate the memory of one process.

    Args:
        model: as it is trained, of fake tensors.
        works: the kinds of steps that will be taken; none if the model is only evaluated.
        batch_of: a task and a number -> so many of its longest examples.
        optimizer: parameters -> optimizer.
        eval_batch_size: examples of a validation's batch.
        precision: as ``trainer.precision``.
        processes: how many average their rows, which then wait in a buffer.
        one_pass: all tasks of a step go through the encoder together.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    sparse = processes == 1 and next(iter(parameters.values())).device.type == "cpu"
    tables = _set_sparse(model, sparse)  # as training does
    trained: set[str] = set()
    steps = []
    for work in works:
        frozen = frozen_names(work.frozen, [name for name, _ in model.named_parameters()])
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in frozen)
        free = [name for name in parameters if name not in frozen]
        trained |= {name for name in free for task in work.examples if model.reaches(task, name)}
        steps.append(rows_of_a_step(model, work, batch_of, precision, processes, one_pass))
    update = optimizer_step(
        optimizer(parameters.values()), [parameters[n] for n in sorted(trained)]
    )
    combined = size(table for name, table in tables.items() if name in trained)
    fixed = size([*model.parameters(), *model.buffers()])
    held = fixed + update.state + combined
    kept = max((step.kept for step in steps), default=0)  # the combined gradient stays
    heaviest = max(steps, key=lambda step: step.activations, default=None)
    asked = (
        prediction_peak(model, t, batch_of(t, eval_batch_size), precision) for t in model.tasks
    )
    return Estimate(
        parameters=fixed,
        optimizer=update.state,
        optimizer_known=update.known,
        gradients=max((step.rows for step in steps), default=0),
        combined=combined,
        activations=heaviest.activations if heaviest else 0,
        largest=heaviest.largest if heaviest else {},
        step=held + max([kept + update.scratch, *(step.peak for step in steps)]),
        validation=held + kept + max(asked),
    )


def computing(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a step of such a precision computes."""
    return torch.autocast(device.type, HALF.get(precision), enabled=precision in HALF)


class StepRows(NamedTuple):
    """What the tasks' rows of a step take, in bytes."""

    rows: int  # all gradients together
    kept: int  # of which stay until the next step
    activations: int  # most that autograd keeps at once
    largest: dict[str, int]  # the tasks with most activations, and how many examples
    peak: int  # the most at once, until the rows are combined


def rows_of_a_step(
    model: MultiTaskModel,
    work: "Work",
    batch_of: Callable[[str, int], Batch],
    precision: str,
    processes: int = 1,
    one_pass: bool = False,
) -> StepRows:
    """Take every task of a step forward and backward, counting; frozen is what is in such a step.

    Several processes copy each row into a buffer, which holds all rows of the step.
    """
    there = [*model.parameters(), *model.buffers()]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batches = {task: batch_of(task, count) for task, count in work.examples.items()}
    if one_pass and len(batches) > 1:
        return _together(model, work, batches, precision)
    live, rows = LiveBytes(there), dict[str, list[Tensor]]()
    sizes, activations = dict[str, int](), dict[str, int]()
    model.train()
    with computing(there[0].device, precision), live:
        for task, batch in batches.items():
            for _ in range(min(work.parts, 2)):  # a third takes no more than the second
                before = live.now
                loss = task_loss(model, task, batch)
                activations[task] = live.now - before
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                row = [gradient for gradient in found if gradient is not None]
                sizes[task] = size(row)
                if task in rows:
                    row = [a + b for a, b in zip(rows[task], row, strict=True)]
                if processes == 1:
                    rows[task] = row
                del loss, found, row
        # Touched rows of embeddings are made unique, and then brought to those of all tasks.
        touched = size(entry for row in rows.values() for entry in row if entry.is_sparse)
        combining = live.now + 2 * touched
    together = sum(sizes.values())
    largest = max(activations, key=lambda task: activations[task])
    return StepRows(
        rows=together,
        kept=max(sizes.values()) if processes == 1 else together,
        activations=activations[largest],
        largest={largest: work.examples[largest]},
        peak=max(live.peak, combining) if processes == 1 else live.peak + together,
    )


def _together(
    model: MultiTaskModel, work: "Work", batches: dict[str, Batch], precision: str
) -> StepRows:
    """The same for one pass, whose rows stay; several processes' buffer is about as large."""
    there = [*model.parameters(), *model.buffers()]
    matrix = GradientMatrix([p for p in model.parameters() if p.requires_grad])
    live, activations, taken = LiveBytes(there), 0, list[list[Tensor]]()
    model.train()
    with computing(there[0].device, precision), live:
        for _ in range(min(work.parts, 2)):
            before = live.now
            with matrix.one_pass(model.trunk, *model.sizes(batches)):
                outputs = model.together(batches)
                losses = {t: task_loss(model, t, batches[t], outputs[t]) for t in batches}
                activations = live.now - before
                matrix.add_together(losses, dict.fromkeys(losses, 1.0))
            del outputs, losses
            taken.append([e for row in matrix.take().rows for e in row if e is not None])
        touched = size(entry for rows in taken for entry in rows if entry.is_sparse)
        combining = live.now + 2 * touched
    return StepRows(
        rows=size(taken[0]),
        kept=size(taken[0]),
        activations=activations,
        largest=dict(work.examples),
        peak=max(live.peak, combining),
    )


def prediction_peak(model: MultiTaskModel, task: str, batch: Batch, precision: str) -> int:
    """The most bytes at once while a batch is predicted, besides the model's own."""
    there = [*model.parameters(), *model.buffers()]
    live = LiveBytes(there)
    model.eval()
    with torch.inference_mode(), computing(there[0].device, precision), live:
        model(task, batch)
    return live.peak


class OptimizerStep(NamedTuple):
    """What an optimizer takes, in bytes."""

    state: int  # what it keeps
    scratch: int  # what a step needs besides
    known: bool = True  # its own step was followed; else the state is taken to be AdamW's


def optimizer_step(optimizer: Optimizer, trained: Sequence[Parameter]) -> OptimizerStep:
    """Take an optimizer's first step, in which some parameters have gradients, counting."""
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    groups = (group["params"] for group in optimizer.param_groups)
    live = LiveBytes([p for group in groups for p in group] + [p.grad for p in trained])
    known = True
    try:
        with live:
            optimizer.step()
    except RuntimeError:  # perhaps it looks at numbers, of which there are none here
        known = all(parameter in optimizer.state for parameter in trained)
    for parameter in trained:
        parameter.grad = None
    if not known:
        return OptimizerStep(2 * size(trained), 0, known=False)
    state = size(value for of in optimizer.state.values() for value in of.values())
    return OptimizerStep(state, max(0, live.peak - state))


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


def _storages(tensors: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """The storages of some tensors, each once; a sparse tensor has two, its indices and values."""
    dense: list[Tensor] = []
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            dense += [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]
    found = (tensor.untyped_storage() for tensor in dense)
    return {storage._cdata: storage for storage in found}


def size(tensors: Iterable[Any]) -> int:
    """Bytes of some tensors together; tensors that share a storage count once."""
    return sum(storage.nbytes() for storage in _storages(tensors).values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that were made under it and are still alive.

    Args:
        known: tensors that existed before and do not count.

    Attributes:
        now: bytes alive at this moment.
        peak: the most bytes that were alive at once.
    """

    def __init__(self, known: Iterable[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = set(_storages(known))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operator and count what it made."""
        made = func(*args, **(kwargs or {}))
        for key, storage in _storages(tree_leaves(made)).items():
            if key not in self._seen:
                self._seen.add(key)
                weakref.finalize(storage, self._freed, key, storage.nbytes())
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, key: int, count: int) -> None:
        self._seen.discard(key)
        self.now -= count
