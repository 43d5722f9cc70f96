"""Vanilla PCGrad's sampling: batches of the shuffled union (Ricci, Algorithm 1)."""

from dataclasses import dataclass

import numpy as np

from mtl_bert.sampling.budget import Budget
from mtl_bert.sampling.deck import Deck
from mtl_bert.sampling.plan import Epoch, Phase, Rows, Sizes, Step


@dataclass(frozen=True)
class Vanilla(Budget):
    """Draw every step's examples from the union of the tasks and group them by task."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of Algorithm 1."""
        union = sum(sizes.values())
        deck = Deck(union, seed, "union", epoch)
        phase = Phase("vanilla")
        steps = tuple(
            Step(phase, group_by_task(deck.deal(size), sizes)) for size in self.step_sizes(sizes)
        )
        notes = (f"B={self.B} draws more than the {union} examples there are",)
        return Epoch(epoch, steps, notes if deck.restarted else ())


def group_by_task(numbers: Rows, sizes: Sizes) -> dict[str, Rows]:
    """Turn row numbers of the concatenated tasks into rows per represented task."""
    ends = np.cumsum(list(sizes.values()))
    owners = np.searchsorted(ends, numbers, side="right")
    return {
        task: numbers[owners == k] - (ends[k] - size)
        for k, (task, size) in enumerate(sizes.items())
        if (owners == k).any()
    }
