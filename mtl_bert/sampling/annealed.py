"""Annealed sampling (Stickland and Murray 2019, section 4; Ricci, section 3.2)."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.checks import whole_number
from mtl_bert.sampling.deck import generator, make_decks, restart_notes
from mtl_bert.sampling.plan import Epoch, Phase, Sizes, Step, batch_sizes


def alpha(epoch: int, epochs: int) -> float:
    """α = 1 − 0.8 (e − 1)/(E − 1), with e from 1; 1 where there is a single epoch."""
    return 1.0 if epochs == 1 else 1.0 - 0.8 * (epoch - 1) / (epochs - 1)


def probabilities(sizes: Sizes, epoch: int, epochs: int) -> NDArray[np.float64]:
    """p_i ∝ N_i^α, the probability that a batch comes from task i: [K]."""
    # Sizes relative to the largest: the powers of raw sizes are needlessly large.
    relative = np.array(list(sizes.values()), np.float64) / max(sizes.values())
    weights = relative ** alpha(epoch, epochs)
    return np.asarray(weights / weights.sum(), np.float64)


@dataclass(frozen=True)
class Annealed:
    """Draw each batch of a step from a task chosen with p_i, ever more evenly.

    Attributes:
        batch_size: examples in one batch.
        B: the epoch has ⌈B / batch_size⌉ steps; None draws as many examples as there are.
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
        """Plan one epoch."""
        batches = self.batches_per_step or len(sizes)
        draws = sum(sizes.values()) if self.B is None else self.B * batches
        decks = make_decks(sizes, seed, epoch)
        tasks, p = list(sizes), probabilities(sizes, epoch, epochs)
        rng = generator(seed, "annealed", epoch)
        phase = Phase("annealed")
        steps = []
        for total in batch_sizes(draws, self.batch_size * batches):
            sizes_of_batches = batch_sizes(total, -(-total // batches))
            chosen = rng.choice(len(tasks), size=len(sizes_of_batches), p=p)
            drawn: Counter[str] = Counter()
            for k, size in zip(chosen, sizes_of_batches, strict=True):
                drawn[tasks[k]] += size
            steps.append(Step(phase, {t: decks[t].deal(drawn[t]) for t in tasks if drawn[t]}))
        return Epoch(epoch, tuple(steps), restart_notes(decks))
