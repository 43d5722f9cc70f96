"""No surgery: the gradient of the summed loss (Yu et al. 2020, section 2, the joint objective)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.method import Method


@dataclass(frozen=True)
class Sum(Method):
    """Add the task gradients up as they are."""

    def weights(self, gram: Tensor, generator: Generator | None = None) -> Tensor:
        """Weights [K]: ones."""
        return torch.ones(len(gram), dtype=torch.float64)
