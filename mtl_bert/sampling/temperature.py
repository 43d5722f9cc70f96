"""Mixing by temperature (Arivazhagan et al. 2019; Raffel et al. 2020, section 3.5.2)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.mixture import Mixture, in_proportion
from mtl_bert.utils.validation import number, whole_number


@dataclass(frozen=True)
class Temperature(Mixture):
    """Draw each batch of a step from a task chosen with p_i ∝ min(N_i, cap)^(1/T).

    T = 1 is proportional to the tasks' sizes, 2 to their square roots, infinity gives every task
    the same.

    Attributes:
        temperature: T > 0; ``inf`` for a uniform choice.
        cap: sizes above it count as this much, as in T5; None for no cap.
    """

    name: ClassVar[str] = "temperature"

    temperature: float = 5.0
    cap: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.temperature != float("inf"):
            number("sampler.temperature", self.temperature, 5, exclusive=True)
        whole_number("sampler.cap", self.cap, optional=True)

    def task_probabilities(self, sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
        """p_i ∝ min(N_i, cap)^(1/T): [K]."""
        cap = self.cap or max(sizes.values())
        return in_proportion((min(size, cap) for size in sizes.values()), 1 / self.temperature)
