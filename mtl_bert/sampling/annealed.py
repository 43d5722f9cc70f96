"""Annealed sampling (Stickland and Murray 2019, section 4; Ricci, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.mixture import Mixture, in_proportion


def alpha(epoch: int, epochs: int) -> float:
    """α = 1 − 0.8 (e − 1)/(E − 1), with e from 1; 1 where there is a single epoch."""
    return 1.0 if epochs == 1 else 1.0 - 0.8 * (epoch - 1) / (epochs - 1)


@dataclass(frozen=True)
class Annealed(Mixture):
    """Draw each batch of a step from a task chosen with p_i ∝ N_i^α, ever more evenly."""

    name: ClassVar[str] = "annealed"

    def task_probabilities(self, sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
        """p_i ∝ N_i^α: [K]."""
        return in_proportion(sizes.values(), alpha(epoch, epochs))
