"""Vanilla PCGrad's sampling: batches of the shuffled union (Ricci, Algorithm 1)."""

from dataclasses import dataclass

import numpy as np

from mtl_bert.sampling.deck import Deck
from mtl_bert.sampling.epoch import Epoch, Phase, Rows, Sizes, Step
from mtl_bert.sampling.mixture import Budget


@dataclass(frozen=True)
class Vanilla(Budget):
    """Draw every step's examples from the union of the tasks and group them by task."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of Algorithm 1."""
        union = sum(sizes.values())
        deck = Deck(union, seed, "union", epoch)
        phase = Phase("vanilla")
        steps = tuple(
            Step(phase, rows) for rows in grouped_by_task(deck, self.step_sizes(sizes), sizes)
        )
        notes = (f"B={self.B} draws more than the {union} examples there are",)
        return Epoch(epoch, steps, notes if deck.restarted else ())


def grouped_by_task(deck: Deck, step_sizes: list[int], sizes: Sizes) -> list[dict[str, Rows]]:
    """Deal a deck of the concatenated tasks' rows to steps: for each, the rows of each task."""
    numbers = deck.deal(sum(step_sizes))
    ends = np.cumsum(list(sizes.values()))
    owners = np.searchsorted(ends, numbers, side="right")
    groups = np.repeat(np.arange(len(step_sizes)), step_sizes) * len(sizes) + owners
    by_group = np.argsort(groups, kind="stable")  # within a task in the order of the deck
    counts = np.bincount(groups, minlength=len(step_sizes) * len(sizes))
    rows = (numbers - (ends - list(sizes.values()))[owners])[by_group]
    parts = iter(np.split(rows, counts.cumsum()[:-1]))
    return [{task: part for task in sizes if len(part := next(parts))} for _ in step_sizes]
