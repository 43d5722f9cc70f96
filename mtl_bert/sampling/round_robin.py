"""Round-robin PCGrad's sampling: one batch of every task in every step (Ricci, Algorithm 2)."""

from collections.abc import Mapping
from dataclasses import dataclass

from mtl_bert.sampling.deck import Deck, make_decks, restart_notes
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes
from mtl_bert.utils.validation import whole_number


def round_robin_steps(decks: Mapping[str, Deck], total: int, batch_size: int) -> tuple[Step, ...]:
    """⌈total / batch_size⌉ steps, each with one batch from every task's deck."""
    phase = Phase("rr")
    return tuple(
        Step(phase, {task: deck.deal(size) for task, deck in decks.items()})
        for size in batch_sizes(total, batch_size)
    )


@dataclass(frozen=True)
class RoundRobin:
    """Give every task the same number of examples in every step.

    Attributes:
        batch_size: examples of each task in a step.
        B: examples of each task in an epoch. None means the smallest task's size, so that no
            task repeats an example within the epoch; with a larger B smaller tasks start over.
    """

    batch_size: int
    B: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of Algorithm 2."""
        decks = make_decks(sizes, seed, epoch)
        total = min(sizes.values()) if self.B is None else self.B
        steps = round_robin_steps(decks, total, self.batch_size)
        return Epoch(epoch, steps, restart_notes(decks))
