"""Ways to keep the K tasks' gradients until they are combined, each as a whole training step.

`matrix` is what the project does; the others are what else was tried.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import Parameter

from benchmarks.encoders import batches, losses, model
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix, PCGrad, StepStats, Surgery
from mtl_bert.surgery.gram import gram_matrix

PCGRAD = PCGrad(include_self=True)
PAPER = Surgery(PCGRAD, scope="all", reduction="mean")
EXAMPLES = 8  # per task, the paper's
Step = Callable[[], None]


def summed(net: MultiTaskModel, K: int) -> Step:
    """No surgery: gradients are added up as they come."""
    step = batches(K, EXAMPLES, 0)

    def gradients() -> None:
        for _, loss in losses(net, step):
            torch.autograd.backward(loss)

    return gradients


def matrix(net: MultiTaskModel, K: int, *, sparse: bool = True) -> Step:
    """Autograd's own tensors; embeddings in the rows that were touched."""
    rows, step = GradientMatrix(list(net.parameters())), batches(K, EXAMPLES, 0)

    def gradients() -> None:
        net.set_sparse_gradients(sparse)
        for task, loss in losses(net, step):
            rows.add(task, loss)
        rows.combine(PAPER)
        net.set_sparse_gradients(False)

    return gradients


def dense_tables(net: MultiTaskModel, K: int) -> Step:
    """Autograd's own tensors; embeddings like everything else."""
    return matrix(net, K, sparse=False)


def copies(net: MultiTaskModel, K: int) -> Step:
    """Autograd's tensors copied into one buffer [K, P] that stays."""
    parameters = list(net.parameters())
    buffer, views = _flat(parameters, K)
    step = batches(K, EXAMPLES, 0)

    def gradients() -> None:
        for row, (_, loss) in zip(views, losses(net, step), strict=True):
            grads = torch.autograd.grad(loss, parameters, allow_unused=True)
            for view, grad in zip(row, grads, strict=True):
                view.zero_() if grad is None else view.copy_(grad)
        _combine(buffer, parameters, views)

    return gradients


def accumulated(net: MultiTaskModel, K: int) -> Step:
    """Autograd adds to views into one buffer [K, P] that stays."""
    parameters = list(net.parameters())
    buffer, views = _flat(parameters, K)
    step = batches(K, EXAMPLES, 0)

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


WAYS: Mapping[str, Callable[[MultiTaskModel, int], Step]] = {
    "no surgery": summed,
    "no surgery, again": summed,
    "surgery": matrix,
    "surgery, dense tables": dense_tables,
    "surgery, copied rows": copies,
    "surgery, accumulated rows": accumulated,
}


def whole_steps(ways: Iterable[str], size: str, K: int) -> dict[str, Step]:
    """For each way, K forward and backward passes and AdamW; all of one model."""
    net = model(size, K)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def whole(gradients: Step) -> None:
        optimizer.zero_grad(set_to_none=True)
        gradients()
        optimizer.step()

    return {way: partial(whole, WAYS[way](net, K)) for way in ways}
