"""Ways to keep the K tasks' gradients until they are combined, each as a whole training step.

`matrix` is what the project does; the others are what else was tried.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torchjd.aggregation import PCGrad as TorchJDPCGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from benchmarks.encoders import batches, losses, model
from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix, PCGrad, StepStats, Surgery
from mtl_bert.surgery.gram import gram_matrix
from mtl_bert.training.step import task_loss

PCGRAD = PCGrad(include_self=True)
PAPER = Surgery(PCGRAD, scope="all", reduction="mean")
EXAMPLES = 8  # per task, the paper's
Step = Callable[[], None]
Batches = dict[str, Batch]


class Case(NamedTuple):
    """How batches are computed."""

    examples: int = EXAMPLES  # per task
    packed: bool = False
    half: bool = False


CASE = Case()


def summed(net: MultiTaskModel, step: Batches) -> Step:
    """No surgery: gradients are added up as they come."""

    def gradients() -> None:
        for _, loss in losses(net, step):
            torch.autograd.backward(loss)

    return gradients


def matrix(net: MultiTaskModel, step: Batches, *, sparse: bool = True) -> Step:
    """Autograd's own tensors; embeddings in the rows that were touched."""
    rows = GradientMatrix(list(net.parameters()))

    def gradients() -> None:
        net.set_sparse_gradients(sparse)
        for task, loss in losses(net, step):
            rows.add(task, loss)
        rows.combine(PAPER)
        net.set_sparse_gradients(False)

    return gradients


def dense_tables(net: MultiTaskModel, step: Batches) -> Step:
    """Autograd's own tensors; embeddings like everything else."""
    return matrix(net, step, sparse=False)


def one_plain_pass(net: MultiTaskModel, step: Batches) -> Step:
    """No surgery: all tasks go through the encoder together, and their losses are added up."""

    def gradients() -> None:
        torch.autograd.backward(list(_joint_losses(net, step).values()))

    return gradients


def one_pass(net: MultiTaskModel, step: Batches) -> Step:
    """All tasks together, each task's gradients into its row."""
    rows = GradientMatrix(list(net.parameters()))

    def gradients() -> None:
        net.set_sparse_gradients(True)
        with rows.one_pass(net.encoder, *net.sizes(step)):
            rows.add_together(_joint_losses(net, step), dict.fromkeys(step, 1.0))
        rows.combine(PAPER)
        net.set_sparse_gradients(False)

    return gradients


def torchjd(net: MultiTaskModel, step: Batches) -> Step:
    """TorchJD's multi-task backward: one forward pass, K backward passes through the encoder."""

    def gradients() -> None:
        pooled = net.pooled_together(step)
        values = _joint_losses(net, step, pooled)
        mtl_backward(list(values.values()), features=list(pooled.values()), parallel_chunk_size=1)
        shared = [p for p in net.parameters() if getattr(p, "jac", None) is not None]
        jac_to_grad(shared, TorchJDPCGrad())

    return gradients


def _joint_losses(
    net: MultiTaskModel, step: Batches, pooled: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    pooled = net.pooled_together(step) if pooled is None else pooled
    return {t: task_loss(net, t, b, net.answers(t, b, pooled[t])) for t, b in step.items()}


def copies(net: MultiTaskModel, step: Batches) -> Step:
    """Autograd's tensors copied into one buffer [K, P] that stays."""
    parameters = list(net.parameters())
    buffer, views = _flat(parameters, len(step))

    def gradients() -> None:
        for row, (_, loss) in zip(views, losses(net, step), strict=True):
            grads = torch.autograd.grad(loss, parameters, allow_unused=True)
            for view, grad in zip(row, grads, strict=True):
                view.zero_() if grad is None else view.copy_(grad)
        _combine(buffer, parameters, views)

    return gradients


def accumulated(net: MultiTaskModel, step: Batches) -> Step:
    """Autograd adds to views into one buffer [K, P] that stays."""
    parameters = list(net.parameters())
    buffer, views = _flat(parameters, len(step))

    def gradients() -> None:
        buffer.zero_()
        graphs = losses(net, step)
        for row in views:
            for parameter, view in zip(parameters, row, strict=True):
                parameter.grad = view
            torch.autograd.backward(next(graphs)[1])
        _combine(buffer, parameters, views)

    return gradients


def _flat(parameters: list[Parameter], K: int) -> tuple[Tensor, list[list[Tensor]]]:
    sizes = [p.numel() for p in parameters]
    buffer = torch.zeros(K, sum(sizes))
    views = [
        [part.view_as(p) for part, p in zip(row.split(sizes), parameters, strict=True)]
        for row in buffer
    ]
    return buffer, views


def _combine(buffer: Tensor, parameters: list[Parameter], views: list[list[Tensor]]) -> None:
    """PCGrad into the buffer's first row; without the difference between mean and sum."""
    gram = gram_matrix([list(buffer)], len(buffer))
    weights = PCGRAD.weights(StepStats((), gram, gram))
    buffer[0].mul_(float(weights[0]))
    for row, weight in zip(buffer[1:], weights[1:].tolist(), strict=True):
        buffer[0].add_(row, alpha=weight)
    for parameter, view in zip(parameters, views[0], strict=True):
        parameter.grad = view


WAYS: Mapping[str, Callable[[MultiTaskModel, Batches], Step]] = {
    "no surgery": summed,
    "no surgery, again": summed,
    "no surgery, one pass": one_plain_pass,
    "surgery": matrix,
    "surgery, one pass": one_pass,
    "surgery, TorchJD": torchjd,
    "surgery, dense tables": dense_tables,
    "surgery, copied rows": copies,
    "surgery, accumulated rows": accumulated,
}


def whole_steps(ways: Iterable[str], size: str, K: int, case: Case = CASE) -> dict[str, Step]:
    """For each way, forward and backward passes and AdamW; all of one model."""
    net = model(size, K)
    if case.packed:
        assert net.pack()
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    step = batches(K, case.examples, 0)

    def whole(gradients: Step) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=case.half):
            gradients()
        optimizer.step()

    return {way: partial(whole, WAYS[way](net, step)) for way in ways}
