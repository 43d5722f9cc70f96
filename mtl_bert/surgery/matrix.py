"""The gradient matrix: one row of gradients per represented task, and their combination.

The rows are the tensors that autograd made, kept as they are; nothing is flattened or copied.
A parameter that a task does not reach has no entry in its row (not a zero, which would still move
it under AdamW's momentum and weight decay).
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from mtl_bert.surgery.gram import gram_matrix
from mtl_bert.surgery.method import Method

SCOPES = ("all", "shared")
REDUCTIONS = ("mean", "sum")


class NonFiniteGradientError(ArithmeticError):
    """A task's gradient has an infinite or undefined entry."""


class Combined(NamedTuple):
    """What surgery saw and answered: the Gram matrix [K, K] and the weights [K], float64."""

    gram: Tensor
    weights: Tensor


class GradientMatrix:
    """Rows of gradients for one step.

    Args:
        parameters: the P parameters in a fixed order.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = list(parameters)
        self._rows: dict[str, tuple[Tensor | None, ...]] = {}

    def add(self, task: str, loss: Tensor) -> None:
        """Go backward through a task's loss into its row, freeing the graph."""
        self._rows[task] = torch.autograd.grad(loss, self._parameters, allow_unused=True)

    def combine(self, surgery: "Surgery", generator: Generator | None = None) -> Combined:
        """Write the combined gradient into the parameters' ``grad`` and drop the rows.

        Parameters that no task reached keep ``grad is None``.

        Raises:
            NonFiniteGradientError: naming the tasks whose gradient is not finite.
        """
        columns = list(zip(*self._rows.values(), strict=True))
        shared = [all(entry is not None for entry in column) for column in columns]
        scope = shared if surgery.scope == "shared" else [True] * len(columns)
        gram = self._gram(itertools.compress(columns, scope))
        weights = surgery.method.weights(gram, generator)
        ones = torch.ones_like(weights)
        for parameter, column, is_shared, in_scope in zip(
            self._parameters, columns, shared, scope, strict=True
        ):
            factors = weights if in_scope else ones
            if is_shared and surgery.reduction == "mean":
                factors = factors / len(factors)
            parameter.grad = _weighted_sum(column, factors.tolist())
        self._rows.clear()
        return Combined(gram, weights)

    def _gram(self, columns: Iterable[Sequence[Tensor | None]]) -> Tensor:
        gram = gram_matrix(columns, len(self._rows))
        norms = zip(self._rows, gram.diagonal().tolist(), strict=True)
        bad = [task for task, norm in norms if not math.isfinite(norm)]
        if bad:
            raise NonFiniteGradientError(
                f"the gradient of {', '.join(bad)} is not finite; a lower lr usually helps"
            )
        return gram


def _weighted_sum(column: Sequence[Tensor | None], factors: Sequence[float]) -> Tensor | None:
    total: Tensor | None = None
    for entry, factor in zip(column, factors, strict=True):
        if entry is not None:
            total = entry * factor if total is None else total.add_(entry, alpha=factor)
    return total


@dataclass(frozen=True)
class Surgery:
    """A method, and what it is applied to.

    Attributes:
        method: maps the Gram matrix to weights.
        scope: which parameters enter the dot products and are weighted. ``all`` is the reference
            implementation's reading, heads included; with ``shared`` (Yu et al.) only those
            that every represented task reaches, and a head takes its own gradient.
        reduction: of parameters that every represented task reaches, ``sum`` or ``mean`` over
            tasks; the others always take the sum (docs/paper.md, 8).
    """

    method: Method
    scope: str = "shared"
    reduction: str = "sum"

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, value, known in (
            ("scope", self.scope, SCOPES),
            ("reduction", self.reduction, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(
                    f"surgery.{name}: expected {' or '.join(known)}, found {value!r}; "
                    f"write surgery.{name}={known[0]}"
                )
