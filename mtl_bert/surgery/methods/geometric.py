"""Geometric loss strategy (Chennupati et al. 2019, MultiNet++)."""

from dataclasses import dataclass

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, divisors


@dataclass(frozen=True)
class GeometricMean(Method):
    """Minimize the geometric mean of the K losses, L = (Π L_i)^(1/K), not their sum."""

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: ∂L / ∂L_i = L / (K L_i)."""
        losses = divisors(self, step)
        return losses.log().mean().exp() / (len(losses) * losses)
