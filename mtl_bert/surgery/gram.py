"""The Gram matrix of the task gradients, the only thing that a surgery method sees."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

# One fp32 product over millions of parameters is wrong in the third digit; partial sums over
# blocks of this many elements, added up in float64, are right to 1e-7 at the same cost.
BLOCK = 32_768


# Outside this range of squared norms, fp32 products of single elements under- or overflow.
SAFE = (1e-20, 1e36)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The dot product of two tensors of one shape, summed in float64: a scalar on their device."""
    a, b = a.reshape(-1), b.reshape(-1)
    whole = len(a) // BLOCK * BLOCK
    blocks: Tensor = torch.linalg.vecdot(a[:whole].view(-1, BLOCK), b[:whole].view(-1, BLOCK))
    return blocks.double().sum() + torch.dot(a[whole:], b[whole:]).double()


def gram_matrix(columns: Iterable[Sequence[Tensor | None]], K: int) -> Tensor:
    """G[i, j] = g_i · g_j, where each column holds the K tasks' gradients of one parameter.

    None stands for a parameter that the task does not reach: a zero that costs nothing.

    Returns:
        [K, K] float64 on the host. Runs outside autocast, whatever surrounds it.
    """
    columns = list(columns)
    gram = _accumulate(columns, K, dot)
    norms = gram.diagonal()
    if ((norms > SAFE[0]) & (norms < SAFE[1])).all():
        return gram
    # Rare, so what it costs does not matter: the same products in float64.
    return _accumulate(columns, K, lambda a, b: dot(a.double(), b.double()))


def _accumulate(
    columns: Iterable[Sequence[Tensor | None]], K: int, product: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    gram: list[list[Tensor | float]] = [[0.0] * K for _ in range(K)]
    for column in columns:
        for i, a in enumerate(column):
            for j, b in enumerate(column[: i + 1]):
                if a is not None and b is not None:
                    with torch.autocast(a.device.type, enabled=False):
                        gram[i][j] = gram[i][j] + product(a, b)
    lower = torch.stack([torch.stack([torch.as_tensor(x).double() for x in row]) for row in gram])
    lower = lower.cpu()
    return lower.tril() + lower.tril(-1).T
