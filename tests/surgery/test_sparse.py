"""Embeddings with sparse gradients against the same with dense ones."""

import torch
from torch import Tensor, nn

from mtl_bert.surgery import GradientMatrix, PCGrad, Surgery

V, D = 50, 4
PAPER = Surgery(PCGrad(include_self=True), "all", "mean")


class Net(nn.Module):
    """A table, and a second way to use it that some tasks take."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(V, D, padding_idx=0, sparse=sparse)
        self.head = nn.Linear(D, 1)

    def loss(self, tokens: Tensor, target: float, *, tied: bool = False) -> Tensor:
        hidden = torch.tanh(self.table(tokens)).mean(1)
        if tied:
            hidden = hidden + torch.tanh(hidden @ self.table.weight.T) @ self.table.weight
        return ((self.head(hidden) - target) ** 2).mean()


def pair(seed: int) -> tuple[Net, Net]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dense = Net(sparse=False).double()
    sparse = Net(sparse=True).double()
    sparse.load_state_dict(dense.state_dict())
    return sparse, dense


def texts(seed: int, low: int = 1, high: int = V) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(low, high, (3, 5), generator=generator) for _ in range(3)]


def combine(
    matrix: GradientMatrix, net: Net, tokens: list[Tensor], *, tied: tuple[bool, ...] = (False,) * 3
) -> None:
    for k, (target, way) in enumerate(zip((1.0, -1.0, 0.5), tied, strict=True)):
        matrix.add(str(k), net.loss(tokens[k], target, tied=way))
    matrix.combine(PAPER, torch.Generator().manual_seed(0))


def same(sparse: Net, dense: Net) -> None:
    for a, b in zip(sparse.parameters(), dense.parameters(), strict=True):
        assert a.grad is not None
        assert not a.grad.is_sparse
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)


def test_step_after_step_equals_dense_tables_with_adamw_too() -> None:
    sparse, dense = pair(0)
    matrices = [GradientMatrix(list(net.parameters())) for net in (sparse, dense)]
    optimizers = [torch.optim.AdamW(net.parameters(), lr=0.1) for net in (sparse, dense)]
    for step in range(6):
        # Ever other rows, so that what a step leaves behind would show in the next.
        tokens = texts(step, low=1 + 8 * step, high=10 + 8 * step)
        for net, matrix, optimizer in zip((sparse, dense), matrices, optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            combine(matrix, net, tokens)
        same(sparse, dense)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(sparse.table.weight, dense.table.weight, rtol=1e-10, atol=1e-12)


def test_a_clipped_gradient_does_not_stay() -> None:
    sparse, dense = pair(1)
    matrix = GradientMatrix(list(sparse.parameters()))
    combine(matrix, sparse, texts(0))
    nn.utils.clip_grad_norm_(sparse.parameters(), 1e-6)
    combine(matrix, sparse, texts(1, high=9))
    combine(GradientMatrix(list(dense.parameters())), dense, texts(1, high=9))
    same(sparse, dense)


def test_a_table_that_some_tasks_use_in_another_way_too() -> None:
    for tied in ((True, False, False), (False, True, True), (True, True, True)):
        sparse, dense = pair(2)
        for net in (sparse, dense):
            matrix = GradientMatrix(list(net.parameters()))
            for _ in range(2):
                combine(matrix, net, texts(3), tied=tied)
        same(sparse, dense)


def test_tasks_that_do_not_reach_the_table() -> None:
    sparse, dense = pair(3)
    for net in (sparse, dense):
        matrix = GradientMatrix(list(net.parameters()))
        matrix.add("table", net.loss(texts(4)[0], 1.0))
        matrix.add("none", net.head(torch.ones(D, dtype=torch.float64)).square().sum())
        matrix.combine(PAPER, torch.Generator().manual_seed(0))
    same(sparse, dense)


def test_padding_alone_gives_a_table_of_zeros() -> None:
    sparse, dense = pair(4)
    tokens = [torch.zeros(2, 3, dtype=torch.int64)] * 3
    for net in (sparse, dense):
        combine(GradientMatrix(list(net.parameters())), net, tokens)
    same(sparse, dense)
    assert not sparse.table.weight.grad.any()  # type: ignore[union-attr]


def test_a_frozen_table_has_no_gradient() -> None:
    sparse, _ = pair(5)
    sparse.table.weight.requires_grad_(False)
    combine(GradientMatrix(list(sparse.head.parameters())), sparse, texts(5))
    assert sparse.table.weight.grad is None
