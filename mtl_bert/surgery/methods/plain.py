"""No surgery: the gradient of the summed or averaged loss (Yu et al. 2020, section 2)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import GramMethod


@dataclass(frozen=True)
class Sum(GramMethod):
    """Add the task gradients up as they are."""

    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Weights [K]: ones."""
        return torch.ones(len(gram), dtype=torch.float64)


@dataclass(frozen=True)
class Mean(GramMethod):
    """Average the task gradients."""

    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Weights [K]: 1/K."""
        return torch.full([len(gram)], 1 / len(gram), dtype=torch.float64)
