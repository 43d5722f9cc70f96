"""Round-robin PCGrad's sampling: one batch of every task in every step (Ricci, Algorithm 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mtl_bert.sampling.deck import Deck, make_decks, restart_notes
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes, resized
from mtl_bert.utils.validation import whole_number


def round_robin_steps(
    decks: Mapping[str, Deck],
    total: int,
    batch_size: int,
    batch_sizes_by_task: Mapping[str, int],
    phase: Phase,
) -> tuple[Step, ...]:
    """⌈total / batch_size⌉ steps, each with one batch from every task's deck.

    Args:
        decks: of the tasks.
        total: examples of a task with the batch size of most.
        batch_size: of most tasks.
        batch_sizes_by_task: batch sizes of tasks that have one of their own.
        phase: of the steps.
    """
    own = {task: batch_sizes_by_task.get(task, batch_size) for task in decks}
    return tuple(
        Step(phase, {t: deck.deal(resized(size, batch_size, own[t])) for t, deck in decks.items()})
        for size in batch_sizes(total, batch_size)
    )


def most_without_repeats(
    sizes: Mapping[str, int], batch_size: int, batch_sizes_by_task: Mapping[str, int]
) -> int:
    """The ``total`` of round-robin steps with which the first task is used up.

    At least 1 where there are examples: a task of fewer than its own batch fills one step.
    """
    return min(
        max(min(size, 1), size * batch_size // batch_sizes_by_task.get(task, batch_size))
        for task, size in sizes.items()
    )


@dataclass(frozen=True)
class RoundRobin:
    """Give every task the same number of examples in every step.

    Attributes:
        batch_size: examples of each task in a step.
        B: examples of each task in an epoch. None means the smallest task's size, so that no
            task repeats an example within the epoch; with a larger B smaller tasks start over.
        batch_sizes: batch sizes of tasks that have one of their own. B counts examples of the
            others; the epoch without B ends with the first task that is used up.
    """

    batch_size: int
    B: int | None = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of Algorithm 2."""
        decks = make_decks(sizes, seed, epoch)
        total = self.B or most_without_repeats(sizes, self.batch_size, self.batch_sizes)
        phase = Phase("rr")
        steps = round_robin_steps(decks, total, self.batch_size, self.batch_sizes, phase)
        return Epoch(epoch, steps, restart_notes(decks))
