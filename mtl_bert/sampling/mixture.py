"""Batches drawn from tasks by probability: what all mixtures but their probabilities share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.deck import generator, make_decks, restart_notes
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes
from mtl_bert.utils.validation import whole_number


@dataclass(frozen=True)
class Budget:
    """How much an epoch draws, where batches are drawn and not dealt out in turn.

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

    def draws(self, sizes: Sizes) -> int:
        """Examples in an epoch."""
        return sum(sizes.values()) if self.B is None else self.B * self.batches(sizes)

    def step_sizes(self, sizes: Sizes) -> list[int]:
        """Examples in each step of an epoch, over all its batches; the last is ragged."""
        return batch_sizes(self.draws(sizes), self.batch_size * self.batches(sizes))


@dataclass(frozen=True)
class Drawn(Budget):
    """Draw the task of every batch at random, and its examples without replacement.

    Each task's examples come shuffled, and start over, shuffled anew, when all have been used.

    Attributes:
        batch_sizes: batch sizes of tasks that have one of their own.
    """

    name: ClassVar[str]
    """Of the phase, and what the draws of tasks are keyed by."""

    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def draw(self, p: NDArray[np.float64], sizes: Sizes, epoch: int, seed: int) -> Epoch:
        """An epoch whose batches are of task i with probability ``p[i]``: [K]."""
        tasks, per_step = list(sizes), self.batches(sizes)
        of_steps = [batch_sizes(size, -(-size // per_step)) for size in self.step_sizes(sizes)]
        batches = np.concatenate(of_steps)
        chosen = generator(seed, self.name, epoch).choice(len(tasks), size=len(batches), p=p)
        own = np.array([self.batch_sizes.get(task, self.batch_size) for task in tasks])
        drawn = np.zeros((len(of_steps), len(tasks)), np.int64)
        step = np.repeat(np.arange(len(of_steps)), [len(batches) for batches in of_steps])
        np.add.at(drawn, (step, chosen), np.maximum(1, batches * own[chosen] // self.batch_size))
        decks = make_decks(sizes, seed, epoch)
        dealt = [
            np.split(decks[task].deal(int(ends[-1])), ends[:-1])
            for task, ends in zip(tasks, drawn.cumsum(axis=0).T, strict=True)
        ]
        phase = Phase(self.name)
        steps = tuple(
            Step(phase, {t: rows for t, rows in zip(tasks, of_step, strict=True) if len(rows)})
            for of_step in zip(*dealt, strict=True)
        )
        return Epoch(epoch, steps, restart_notes(decks))


@dataclass(frozen=True)
class Mixture(Drawn, ABC):
    """Draw the task of every batch with a probability p_i, which a subclass says."""

    @abstractmethod
    def task_probabilities(self, sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
        """The probability that a batch is of task i: [K], in the order of ``sizes``."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch."""
        return self.draw(self.task_probabilities(sizes, epoch, epochs), sizes, epoch, seed)


def in_proportion(sizes: Iterable[float], power: float = 1.0) -> NDArray[np.float64]:
    """Probabilities p_i ∝ N_i^power: [K]."""
    # Sizes relative to the largest: the powers of raw sizes are needlessly large.
    relative = np.array(list(sizes), np.float64)
    weights = (relative / relative.max()) ** power
    return np.asarray(weights / weights.sum(), np.float64)
