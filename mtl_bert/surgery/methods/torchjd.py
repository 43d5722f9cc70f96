"""The methods of the field that TorchJD keeps, an extra: pip install 'mtl-bert[torchjd]'."""

from dataclasses import dataclass

from torch import Generator, Tensor
from torchjd import Stateful
from torchjd.aggregation import FairGradWeighting, Weighting

from mtl_bert.surgery.methods.base import Method, StepStats


@dataclass(frozen=True)
class TorchJD(Method):
    """Ask one of TorchJD's Gram-matrix weightings.

    Attributes:
        weighting: [K, K] -> [K], for any K; none that remembers, because what TorchJD's weightings
            remember goes by a task's place in the step, and which tasks a step has changes.
    """

    weighting: Weighting[Tensor]

    def __post_init__(self) -> None:
        """Check the settings."""
        if isinstance(self.weighting, Stateful):
            raise ValueError(
                f"surgery.method.weighting: expected one without a memory, found "
                f"{type(self.weighting).__name__}; write for example surgery=upgrad"
            )

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K], asked for at a mean norm² of 1: TorchJD's thresholds are absolute."""
        scale = step.gram.diagonal().mean()
        weights = self.weighting(step.gram / scale)
        if isinstance(self.weighting, FairGradWeighting):  # Gw = w^(-1/α): w goes with the scale
            weights = weights * scale ** (-self.weighting.alpha / (1 + self.weighting.alpha))
        return weights
