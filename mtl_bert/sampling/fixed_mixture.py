"""Static probabilities that the user gives: what a tuned mixture is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.mixture import Mixture, in_proportion
from mtl_bert.utils.validation import SamplerError, number

ROUNDING = 0.01  # thirds that people write as 0.333 add up to 0.999


@dataclass(frozen=True)
class FixedMixture(Mixture):
    """Draw each batch of a step from a task chosen with a probability that stays the same.

    Attributes:
        probabilities: of every task; they add up to 1 (to a hundredth), and 0 leaves a task out.
    """

    name: ClassVar[str] = "fixed"

    probabilities: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if not isinstance(self.probabilities, Mapping) or not self.probabilities:
            raise ValueError(
                "sampler.probabilities: expected a probability for every task, found "
                f"{self.probabilities!r}; write for example "
                "sampler.probabilities='{sst: 0.3, qqp: 0.4, sts: 0.3}'"
            )
        for task, p in self.probabilities.items():
            number(f"sampler.probabilities.{task}", p, 0.3)
        total = sum(self.probabilities.values())
        if abs(total - 1) > ROUNDING:
            raise ValueError(
                f"sampler.probabilities: expected probabilities that add up to 1, found "
                f"{total:g}; write sampler.probabilities='{self._written(total or 1)}'"
            )

    def _written(self, total: float) -> str:
        shares = (f"{task}: {p / total:.3g}" for task, p in self.probabilities.items())
        return f"{{{', '.join(shares)}}}"

    def task_probabilities(self, sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
        """As given: [K]."""
        if self.probabilities.keys() != sizes.keys():
            raise SamplerError(
                f"sampler.probabilities: expected one for each of {', '.join(sizes)}, found "
                f"{', '.join(self.probabilities)}; write 0 for a task that is to be left out"
            )
        return in_proportion(self.probabilities[task] for task in sizes)
