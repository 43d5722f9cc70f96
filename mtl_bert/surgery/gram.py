"""The Gram matrix of the task gradients, the only thing about them that a method sees."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

# One fp32 product over millions of parameters is wrong in the third digit; partial sums over
# blocks of this many elements, added up in float64, are right to 1e-7 at the same cost.
BLOCK = 32_768

T = TypeVar("T")

# Outside this range of squared norms, fp32 products of single elements under- or overflow.
SAFE = (1e-20, 1e36)

Column = Sequence[Tensor | None]
"""The K tasks' gradients of one parameter; None where a task does not reach it."""


def gram_matrix(columns: Iterable[Column], K: int) -> Tensor:
    """G[i, j] = g_i · g_j, summed over columns.

    None is a zero that costs nothing.

    Returns:
        [K, K] float64 on the host. Runs outside autocast, whatever surrounds it.
    """
    columns = list(_merged(columns))
    gram = _accumulate(columns, K)
    norms = gram.diagonal()
    if ((norms > SAFE[0]) & (norms < SAFE[1])).all():
        return gram
    # Rare, so what it costs does not matter: the same products in float64.
    return _accumulate(([x if x is None else x.double() for x in column] for column in columns), K)


def _merged(columns: Iterable[Column]) -> Iterator[Column]:
    """Flat columns; short ones, such as biases, are joined so that they cost one product."""
    short: dict[tuple[bool, ...], list[list[Tensor]]] = {}
    for column in columns:
        flat = [None if entry is None else entry.reshape(-1) for entry in column]
        present = [entry for entry in flat if entry is not None]
        if not present:
            continue
        if len(present[0]) < BLOCK:
            reached = tuple(entry is not None for entry in flat)
            short.setdefault(reached, []).append(present)
        else:
            yield flat
    for reached, parts in short.items():
        joined = iter([torch.cat(row) for row in zip(*parts, strict=True)])
        yield [next(joined) if here else None for here in reached]


def _accumulate(columns: Iterable[Column], K: int) -> Tensor:
    gram: Tensor | None = None
    for column in columns:
        reached = [k for k, entry in enumerate(column) if entry is not None]
        products = _products([entry for entry in column if entry is not None])
        if gram is None:
            gram = torch.zeros(K, K, dtype=torch.float64, device=products.device)
        for (i, j), product in zip(_pairs(reached), products, strict=True):
            gram[i, j] += product
    if gram is None:
        return torch.zeros(K, K, dtype=torch.float64)
    gram = gram.cpu()
    return gram.tril() + gram.tril(-1).T


def _products(rows: Sequence[Tensor]) -> Tensor:
    """The dot product of each pair of vectors [pairs], summed in float64 over blocks."""
    device = rows[0].device.type
    with torch.autocast(device, enabled=False):
        return products_in_cache(rows) if device == "cpu" else products_in_few_calls(rows)


def products_in_cache(rows: Sequence[Tensor]) -> Tensor:
    """All pairs block by block, so that each block comes from memory once: for CPUs."""
    parts = [torch.split(row, BLOCK) for row in rows]
    dots = [torch.dot(a, b) for block in zip(*parts, strict=True) for a, b in _pairs(block)]
    return torch.stack(dots).view(len(parts[0]), -1).double().sum(0)


def products_in_few_calls(rows: Sequence[Tensor]) -> Tensor:
    """All blocks pair by pair: for devices on which starting work costs more than memory."""
    whole = len(rows[0]) // BLOCK * BLOCK
    blocks = [row[:whole].view(-1, BLOCK) for row in rows]
    rests = [row[whole:] for row in rows]
    sums = [torch.linalg.vecdot(a, b).double().sum() for a, b in _pairs(blocks)]
    return torch.stack(sums) + torch.stack([torch.dot(a, b) for a, b in _pairs(rests)])


def _pairs(items: Sequence[T]) -> list[tuple[T, T]]:
    return [(a, b) for n, a in enumerate(items) for b in items[: n + 1]]
