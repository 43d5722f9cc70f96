"""Random loss weighting (Lin et al. 2022, section 3): the baseline that learns nothing."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats


@dataclass(frozen=True)
class RandomWeights(Method):
    """Weight the losses by the softmax of fresh standard normal numbers in every step."""

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K] on the simplex."""
        drawn = torch.randn(len(step.tasks), generator=generator, dtype=torch.float64)
        return drawn.softmax(0)
