"""UniMax: as even as the number of repeats allows (Chung et al. 2023, Algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.mixture import Mixture, in_proportion
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class UniMax(Mixture):
    """Share an epoch's examples out evenly, but repeat no task's more than so many times.

    What a small task may not take goes to the larger ones. Batches are drawn with the
    probabilities that follow, so a task's repeats are kept in expectation, as in the paper; there
    they are counted over the whole training, here in each epoch.

    Attributes:
        max_repeats: times that an epoch may use a task's training set, R > 0.
    """

    name: ClassVar[str] = "unimax"

    max_repeats: float = 4.0

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        number("sampler.max_repeats", self.max_repeats, 4, exclusive=True)

    def task_probabilities(self, sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
        """p_i ∝ U_i, in rising N: U_i = min(budget left / tasks left, R · N_i): [K].

        Of a task with larger batches of its own an example costs so much less of the budget, which
        is one of batches.
        """
        cost = {t: self.batch_size / self.batch_sizes.get(t, self.batch_size) for t in sizes}
        budget, left, share = float(self.draws(sizes)), sum(cost.values()), dict[str, float]()
        for task in sorted(sizes, key=lambda task: sizes[task]):
            share[task] = cost[task] * min(budget / left, self.max_repeats * sizes[task])
            budget -= share[task]
            left -= cost[task]
        return in_proportion(share[task] for task in sizes)
