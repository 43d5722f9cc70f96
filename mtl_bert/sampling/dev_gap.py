"""Dynamic sampling by the gap to single-task models (Gottumukkala et al. 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mtl_bert.sampling.epoch import Epoch, Sizes
from mtl_bert.sampling.history import History, scores
from mtl_bert.sampling.mixture import Drawn, in_proportion
from mtl_bert.utils.validation import SamplerError, number


@dataclass(frozen=True)
class DevGap(Drawn):
    """Draw more batches of the tasks that are furthest below what a model of their own reaches.

    p_i ∝ max(floor, single_i − current_i), with the dev score of the last epoch that has one. Until
    there is one, all tasks are drawn alike.

    Attributes:
        single: dev score of each task's single-task model, on the scale of the run's own scores.
        floor: the least that a gap counts as, > 0, so that no task is forgotten.
    """

    name: ClassVar[str] = "dev_gap"
    decided_by: ClassVar[str] = "how far each dev score is below its single-task model's"

    single: Mapping[str, float] = field(default_factory=dict)
    floor: float = 0.01

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        number("sampler.floor", self.floor, 0.01, exclusive=True)
        if not isinstance(self.single, Mapping) or not self.single:
            raise ValueError(
                "sampler.single: expected the dev score of each task's single-task model, found "
                f"{self.single!r}; write for example "
                "sampler.single='{sst: 0.5, qqp: 0.88, sts: 0.86}', or the directory of a finished "
                "run with sampler=single"
            )
        for task, score in self.single.items():
            number(f"sampler.single.{task}", score, 0.5, least=-np.inf)

    def __call__(
        self, sizes: Sizes, epoch: int, epochs: int, seed: int, history: History = ()
    ) -> Epoch:
        """Plan one epoch."""
        if missing := sizes.keys() - self.single.keys():
            raise SamplerError(
                f"sampler.single: expected a score for each of {', '.join(sizes)}, found none for "
                f"{', '.join(sorted(missing))}; train it with sampler=single"
            )
        found = {task: scores(history, task) for task in sizes}
        gaps = [
            max(self.floor, self.single[task] - of_task[-1]) if all(found.values()) else 1.0
            for task, of_task in found.items()
        ]
        return self.draw(in_proportion(gaps), sizes, epoch, seed)
