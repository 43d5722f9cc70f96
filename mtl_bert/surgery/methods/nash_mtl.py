"""Nash-MTL (Navon et al. 2022): the bargain that all tasks would agree to."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats
from mtl_bert.utils.validation import number

RIDGE = 1e-8  # on the cosines: gradients that sum to nothing have a finite answer too
PRECISION = 1e-10


@dataclass(frozen=True)
class NashMTL(Method):
    """Nash-MTL (Navon et al. 2022, Algorithm 1): weights α > 0 with Gα = 1/α, every step anew.

    They minimize the convex αᵀGα / 2 - Σ log α_i. Newton's method, damped as for self-concordant
    functions (Nesterov 2004, section 4.1), finds them to rounding in a few rounds, in some
    dozens where many gradients all but cancel. TorchJD's class, the paper's sequence of convex
    problems, wants gradients and remembers the last step; in one case of ten it stays at its start.

    Attributes:
        rounds: steps of Newton's method at most.
    """

    rounds: int = 100

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.rounds", self.rounds, 100, least=1, whole=True)

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: the α with Gα = 1/α, scaled to the gradients' lengths."""
        gram = step.gram
        norms = gram.diagonal().sqrt()
        cosines = gram / norms / norms[:, None] + RIDGE * torch.eye(len(gram), dtype=torch.float64)
        beta = (len(gram) / cosines.sum().clamp_min(RIDGE)).sqrt().expand(len(gram))
        for _ in range(self.rounds):
            slope = cosines @ beta - 1 / beta
            newton = torch.linalg.solve(cosines + (beta**-2).diag(), -slope)
            decrement = (-slope @ newton).clamp_min(0.0).sqrt()
            if decrement < PRECISION:
                break
            beta = beta + newton / (1 + decrement if decrement > 0.25 else 1)
        return beta / norms
