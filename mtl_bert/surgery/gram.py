"""The Gram matrix of the task gradients, the only thing about them that a method sees."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

# One fp32 product over millions of parameters is wrong in the third digit; products over blocks
# of this many elements, added up in float64, are right to 1e-7 and no slower.
BLOCK = 16_384

# Elements that are gathered for one batch of products: on a CPU they should stay in its cache, and
# in memory that is there already (new pages cost more than the products).
GATHERED = {"cpu": 2**20}
GATHERED_ELSEWHERE = 2**24

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
    if torch.get_float32_matmul_precision() == "highest":
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
    gram, room = torch.zeros(K, K, dtype=torch.float64), None
    for column in columns:
        rows = [entry for entry in column if entry is not None]
        if room is None or (room.dtype, room.device) != (rows[0].dtype, rows[0].device):
            elements = GATHERED.get(rows[0].device.type, GATHERED_ELSEWHERE)
            room = rows[0].new_empty(max(elements, K * BLOCK))
        with torch.autocast(rows[0].device.type, enabled=False):
            products = _products(rows, room)
        gram = gram.to(products.device)
        reached = torch.tensor([k for k, entry in enumerate(column) if entry is not None])
        gram[reached[:, None], reached] += products
    return gram.cpu()


def _products(rows: Sequence[Tensor], room: Tensor) -> Tensor:
    """The dot products of k vectors, summed in float64 over blocks: [k, k]."""
    whole = len(rows[0]) // BLOCK * BLOCK
    parts = [
        [row[:whole].view(-1, BLOCK) for row in rows],
        [row[whole:].view(1, -1) for row in rows],
    ]
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows[0].device)
    for part in parts:
        for J in _gathered(part, room):
            total += torch.bmm(J, J.mT).sum(0, dtype=torch.float64)
    return total


def _gathered(rows: Sequence[Tensor], room: Tensor) -> Iterator[Tensor]:
    """The rows' blocks, some at a time, side by side: k of [n, block] to [some, k, block].

    What was yielded is overwritten by what comes next, so that it stays in cache.
    """
    if not rows[0].numel():
        return
    size = len(rows) * rows[0].shape[1]
    for parts in zip(*(torch.split(row, room.numel() // size) for row in rows), strict=True):
        gathered = room[: len(parts[0]) * size].view(len(parts[0]), len(rows), -1)
        yield torch.stack(parts, 1, out=gathered)
