"""Vanilla PCGrad's sampling: batches of the shuffled union (Ricci, Algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtl_bert.sampling.checks import whole_number
from mtl_bert.sampling.deck import Deck
from mtl_bert.sampling.plan import Epoch, Phase, Rows, Sizes, Step, batch_sizes


@dataclass(frozen=True)
class Vanilla:
    """Draw every step's examples from the union of the tasks and group them by task.

    Attributes:
        batch_size: examples in one batch.
        B: the epoch has ⌈B / batch_size⌉ steps; None deals the whole union once.
        batches_per_step: batches drawn for a step; None means one for each task there is.
    """

    encoder_per_task: ClassVar[bool] = False

    batch_size: int
    B: int | None = None
    batches_per_step: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)
        whole_number("sampler.batches_per_step", self.batches_per_step, optional=True)

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of Algorithm 1."""
        batches = self.batches_per_step or len(sizes)
        union = sum(sizes.values())
        deck = Deck(union, seed, "union", epoch)
        draws = union if self.B is None else self.B * batches
        phase = Phase("vanilla")
        steps = tuple(
            Step(phase, group_by_task(deck.deal(size), sizes))
            for size in batch_sizes(draws, self.batch_size * batches)
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
