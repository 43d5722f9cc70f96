"""Steps for the methods to weigh, made from numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl_bert.runs.factories import make_surgery
from mtl_bert.surgery import Method, StepStats
from mtl_bert.surgery.methods.base import weights_of
from tests.composing import settings_of


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rows(K: int, P: int, seed: int) -> Tensor:
    """Gradients [K, P] float64."""
    return torch.randn(K, P, dtype=torch.float64, generator=seeded(seed))


def step(
    rows: Tensor,
    tasks: Sequence[str] | None = None,
    losses: Sequence[float] | None = None,
    epoch: int = 1,
) -> StepStats:
    """What a method sees of gradients [K, P]; tasks and losses are made up where left out."""
    K = len(rows)
    rows = rows.double()
    return StepStats(
        tuple(f"t{k}" for k in range(K)) if tasks is None else tuple(tasks),
        rows @ rows.T,
        torch.linspace(0.5, 2, K, dtype=torch.float64)
        if losses is None
        else torch.tensor(losses, dtype=torch.float64),
        epoch,
    )


def loss_step(losses: dict[str, float], epoch: int = 1) -> StepStats:
    """A step in which nothing but the losses matters: orthogonal gradients of one length."""
    return step(torch.eye(len(losses)), list(losses), list(losses.values()), epoch)


def weigh(method: Method, rows: Tensor, seed: int = 0) -> Tensor:
    """Weights [K] of a step with made-up tasks and losses."""
    return weights_of(method, step(rows), seeded(seed))


def method_of(*overrides: str) -> Method:
    """The method that a command line names."""
    return make_surgery(settings_of(*overrides)).method
