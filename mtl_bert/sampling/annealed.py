"""Annealed sampling (Stickland and Murray 2019, section 4; Ricci, section 3.2)."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.deck import generator, make_decks, restart_notes
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes
from mtl_bert.sampling.vanilla import Budget


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
class Annealed(Budget):
    """Draw each batch of a step from a task chosen with p_i, ever more evenly."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch."""
        decks = make_decks(sizes, seed, epoch)
        tasks, p = list(sizes), probabilities(sizes, epoch, epochs)
        rng = generator(seed, "annealed", epoch)
        phase = Phase("annealed")
        steps = []
        for total in self.step_sizes(sizes):
            batches = batch_sizes(total, -(-total // self.batches(sizes)))
            chosen = rng.choice(len(tasks), size=len(batches), p=p)
            drawn: Counter[str] = Counter()
            for k, size in zip(chosen, batches, strict=True):
                drawn[tasks[k]] += size
            steps.append(Step(phase, {t: decks[t].deal(drawn[t]) for t in tasks if drawn[t]}))
        return Epoch(epoch, tuple(steps), restart_notes(decks))
