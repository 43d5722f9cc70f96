"""No surgery: the gradient of the summed or averaged loss (Yu et al. 2020, section 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats


@dataclass(frozen=True)
class Sum(Method):
    """Add the task gradients up as they are."""

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: ones."""
        return torch.ones(len(step.tasks), dtype=torch.float64)


@dataclass(frozen=True)
class Mean(Method):
    """Average the task gradients: the sum divided by the number of tasks."""

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: 1/K."""
        return torch.full([len(step.tasks)], 1 / len(step.tasks), dtype=torch.float64)


@dataclass(frozen=True)
class Weighting(Method):
    """Any function of the Gram matrix: yours, or a library's.

    Attributes:
        function: [K, K] float64 -> [K].
    """

    function: Callable[[Tensor], Tensor]

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: the function's."""
        return self.function(step.gram).to(step.gram)
