"""PCGrad written out densely, as the independent reference: one long vector for each task.

It follows the description of the algorithm and of the reference implementation's reduction
(docs/explanation/paper.md, 8), with every gradient flattened over all parameters, zeros where a
task does not reach, and no Gram matrix anywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter


def project(gradients: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """Each row of [K, P] projected against the originals of the others, in its own order."""
    projected = gradients.clone()
    for i, order in enumerate(orders):
        for j in order:
            conflict = torch.dot(projected[i], gradients[j])
            if conflict < 0:
                projected[i] -= conflict / gradients[j].norm() ** 2 * gradients[j]
    return projected


def draw_orders(K: int, generator: torch.Generator, *, include_self: bool) -> list[list[int]]:
    """An order for each task."""
    drawn = [torch.randperm(K, generator=generator).tolist() for _ in range(K)]
    return [[j for j in order if include_self or j != i] for i, order in enumerate(drawn)]


def flat_gradient(loss: Tensor, parameters: Sequence[Parameter]) -> tuple[Tensor, Tensor]:
    """A task's gradient over all parameters, and where it has one: [P] each."""
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    grads, reached = [], []
    for parameter in parameters:
        has = parameter.grad is not None
        grads.append(parameter.grad.flatten() if has else torch.zeros_like(parameter).flatten())
        reached.append(torch.full((parameter.numel(),), has))
        parameter.grad = None
    return torch.cat(grads), torch.cat(reached)


def combine(
    losses: Sequence[Tensor],
    parameters: Sequence[Parameter],
    generator: torch.Generator,
    *,
    scope: str,
    reduction: str,
    include_self: bool,
    surgery: bool = True,
) -> None:
    """Write the combined gradient into ``grad``; None where no task reaches."""
    rows, reached = zip(*(flat_gradient(loss, parameters) for loss in losses), strict=True)
    gradients, reach = torch.stack(rows), torch.stack(reached)
    shared = reach.all(0)
    scoped = gradients * (shared if scope == "shared" else torch.ones_like(shared))
    projected = scoped
    if surgery:
        orders = draw_orders(len(losses), generator, include_self=include_self)
        projected = project(scoped, orders)
    merged = (projected + gradients - scoped).sum(0)
    if reduction == "mean":
        merged[shared] /= len(losses)
    start = 0
    for parameter in parameters:
        part = slice(start, start + parameter.numel())
        if reach[:, part].any():
            parameter.grad = merged[part].view_as(parameter).clone()
        start = part.stop
