"""Vanilla PCGrad's sampling: batches of the shuffled union (Ricci, Algorithm 1)."""

from dataclasses import dataclass

import numpy as np

from mtl_bert.sampling.deck import Deck
from mtl_bert.sampling.epoch import Epoch, Phase, Rows, Sizes, Step, batch_sizes
from mtl_bert.utils.validation import whole_number


@dataclass(frozen=True)
class Budget:
    """The settings that vanilla and annealed sampling share.

    Attributes:
        batch_size: examples in one batch.
        B: the epoch has ⌈B / batch_size⌉ steps; None draws as many examples as there are.
        batches_per_step: batches drawn for a step; None means one for each task there is.
    """

    batch_size: int
    B: int | None = None
    batches_per_step: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)
        whole_number("sampler.batches_per_step", self.batches_per_step, optional=True)

    def batches(self, sizes: Sizes) -> int:
        """Batches in a step."""
        return self.batches_per_step or len(sizes)

    def step_sizes(self, sizes: Sizes) -> list[int]:
        """Examples in each step of an epoch, over all its batches; the last is ragged."""
        batches = self.batches(sizes)
        draws = sum(sizes.values()) if self.B is None else self.B * batches
        return batch_sizes(draws, self.batch_size * batches)


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
