"""The Gram matrix of the task gradients, the only thing about them that a method sees."""

from collections import Counter
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

# Columns shorter than this are joined, so that they cost one product: on a GPU, which waits for
# the launch of each operation, nearly all.
SHORT = {"cpu": BLOCK}
SHORT_ELSEWHERE = GATHERED_ELSEWHERE

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
    (gram,), _ = gram_matrices([columns], K)
    return gram


def gram_matrices(
    groups: Sequence[Iterable[Column]], K: int, beside: Sequence[Tensor] = ()
) -> tuple[list[Tensor], Tensor]:
    """The Gram matrix of each group of columns, and some numbers that are on the device as well.

    All of it is fetched at once: a GPU is waited for a single time.

    Returns:
        [K, K] float64 for each group and [len(beside)] float64, on the host.
    """
    merged = [list(_merged(columns)) for columns in groups]
    exact = torch.get_float32_matmul_precision() == "highest"
    grams, numbers = _fetched(merged if exact else map(_doubled, merged), K, beside)
    if exact and not all(map(_safe, grams, merged)):
        # Rare, so what it costs does not matter: the same products in float64.
        grams, _ = _fetched(map(_doubled, merged), K, ())
    return grams, numbers


def _safe(gram: Tensor, columns: Iterable[Column]) -> bool:
    """Whether no product can have left the range of fp32."""
    reached = torch.tensor([[entry is not None for entry in column] for column in columns])
    norms = gram.diagonal()[reached.any(0)] if reached.numel() else gram.diagonal()[:0]
    return bool(((norms > SAFE[0]) & (norms < SAFE[1])).all())


def _doubled(columns: Iterable[Column]) -> Iterator[Column]:
    return ([x if x is None else x.double() for x in column] for column in columns)


def _fetched(
    groups: Iterable[Iterable[Column]], K: int, beside: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Products of every group, brought to the host together with the numbers beside them."""
    summed = [_summed(columns) for columns in groups]
    parts = [products.flatten() for sums in summed for products in sums.values()]
    parts.append(torch.stack(list(beside)).double() if beside else torch.empty(0).double())
    device = parts[0].device
    flat = torch.cat([part.to(device) for part in parts]).cpu()
    grams = []
    for sums in summed:
        gram = torch.zeros(K, K, dtype=torch.float64)
        for reached in sums:
            tasks = torch.tensor(reached)
            products, flat = flat[: len(tasks) ** 2], flat[len(tasks) ** 2 :]
            gram[tasks[:, None], tasks] += products.view(len(tasks), len(tasks))
        grams.append(gram)
    return grams, flat


def _merged(columns: Iterable[Column]) -> Iterator[Column]:
    """Flat columns; short ones, such as biases, are joined, to as many elements as are gathered."""
    short: dict[tuple[bool, ...], list[list[Tensor]]] = {}
    waiting: Counter[tuple[bool, ...]] = Counter()

    def joined(reached: tuple[bool, ...]) -> Column:
        parts = iter([torch.cat(row) for row in zip(*short.pop(reached), strict=True)])
        waiting.pop(reached)
        return [next(parts) if here else None for here in reached]

    for column in columns:
        flat = [None if entry is None else entry.reshape(-1) for entry in column]
        present = [entry for entry in flat if entry is not None]
        if not present:
            continue
        if len(present[0]) < SHORT.get(present[0].device.type, SHORT_ELSEWHERE):
            reached = tuple(entry is not None for entry in flat)
            short.setdefault(reached, []).append(present)
            waiting[reached] += len(present[0]) * len(present)
            if waiting[reached] >= GATHERED_ELSEWHERE:
                yield joined(reached)
        else:
            yield flat
    yield from map(joined, list(short))


def _summed(columns: Iterable[Column]) -> dict[tuple[int, ...], Tensor]:
    """Dot products of the k tasks that reach a column, summed over columns: [k, k] by tasks."""
    sums: dict[tuple[int, ...], Tensor] = {}
    room = None
    for column in columns:
        rows = [entry for entry in column if entry is not None]
        if room is None or (room.dtype, room.device) != (rows[0].dtype, rows[0].device):
            elements = GATHERED.get(rows[0].device.type, GATHERED_ELSEWHERE)
            room = rows[0].new_empty(max(elements, len(column) * BLOCK))
        with torch.autocast(rows[0].device.type, enabled=False):
            products = _products(rows, room)
        reached = tuple(k for k, entry in enumerate(column) if entry is not None)
        sums[reached] = sums[reached] + products if reached in sums else products
    return sums


def _products(rows: Sequence[Tensor], room: Tensor) -> Tensor:
    """The dot products of k vectors, summed in float64 over blocks: [k, k]."""
    K, P = len(rows), len(rows[0])
    whole = P // BLOCK * BLOCK
    parts = [
        [row[:whole].view(-1, BLOCK) for row in rows],
        [row[whole:].view(1, -1) for row in rows],
    ]
    total = torch.zeros(K, K, dtype=torch.float64, device=rows[0].device)
    # Rows that lie one behind the other, as those of one pass do, need not be brought together.
    stores = {row.untyped_storage().data_ptr() for row in rows}
    starts = [row.storage_offset() for row in rows]
    beside = K > 1 and len(stores) == 1 and starts == [starts[0] + k * P for k in range(K)]
    for part in parts:
        if not part[0].numel():
            continue
        shape = len(part[0]), K, part[0].shape[1]
        found = [part[0].as_strided(shape, (shape[2], P, 1))] if beside else _gathered(part, room)
        for J in found:
            J = J.float() if J.itemsize < 4 else J  # a product in half precision would be rounded
            total += torch.bmm(J, J.mT).sum(0, dtype=torch.float64)
    return total


def _gathered(rows: Sequence[Tensor], room: Tensor) -> Iterator[Tensor]:
    """The rows' blocks, some at a time, side by side: k of [n, block] to [some, k, block].

    What was yielded is overwritten by what comes next, so that it stays in cache.
    """
    size = len(rows) * rows[0].shape[1]
    for parts in zip(*(torch.split(row, room.numel() // size) for row in rows), strict=True):
        gathered = room[: len(parts[0]) * size].view(len(parts[0]), len(rows), -1)
        yield torch.stack(parts, 1, out=gathered)
