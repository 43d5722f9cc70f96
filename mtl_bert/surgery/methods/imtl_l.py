"""IMTL-L: every loss counts as if it were 1 (Liu et al. 2021, Towards Impartial MTL)."""

from dataclasses import dataclass

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, divisors


@dataclass(frozen=True)
class IMTLL(Method):
    """Divide each loss by itself: the gradient of Σ log L_i.

    The paper learns s_i with Σ exp(s_i) L_i - s_i by gradient descent, which is ``Uncertainty``
    but for a factor of 2. Here s_i is where that is least, exp(s_i) = 1 / L_i, in every step.
    """

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: 1 / L."""
        return 1 / divisors(self, step)
