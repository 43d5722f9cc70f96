"""Shuffling without replacement, reproducible from (seed, task, epoch) alone."""

import zlib

import numpy as np

from mtl_bert.sampling.epoch import Rows, Sizes


def generator(seed: int, purpose: str, epoch: int, turn: int = 0) -> np.random.Generator:
    """A random generator for one purpose in one epoch.

    Keyed by name and not by position, so that adding a task leaves the others' decks alone.
    """
    return np.random.default_rng((seed, zlib.crc32(purpose.encode()), epoch, turn))


class Deck:
    """One permutation of ``range(size)``, dealt from the top; reshuffled when exhausted."""

    def __init__(self, size: int, seed: int, name: str, epoch: int) -> None:
        if size < 1:
            raise ValueError(f"task {name}: expected at least 1 training example, found {size}")
        self._size, self._key, self._turn = size, (seed, name, epoch), 0
        self._cards = generator(*self._key).permutation(size)

    @property
    def remaining(self) -> Rows:
        """The rows not dealt yet in this turn of the deck, in the order they would come."""
        return self._cards

    @property
    def restarted(self) -> bool:
        """Whether the deck was exhausted and started over."""
        return self._turn > 0

    def deal(self, count: int) -> Rows:
        """Take the next ``count`` rows: [count]."""
        dealt, self._cards = self._cards[:count], self._cards[count:]
        while len(dealt) < count:
            self._turn += 1
            self._cards = generator(*self._key, turn=self._turn).permutation(self._size)
            missing = count - len(dealt)
            dealt = np.concatenate([dealt, self._cards[:missing]])
            self._cards = self._cards[missing:]
        return dealt


def make_decks(sizes: Sizes, seed: int, epoch: int) -> dict[str, Deck]:
    """A freshly shuffled deck for every task."""
    return {task: Deck(size, seed, task, epoch) for task, size in sizes.items()}


def restart_notes(decks: dict[str, Deck]) -> tuple[str, ...]:
    """A note for every task that ran out of fresh examples and started over."""
    return tuple(
        f"{task} ran out of fresh examples and started over"
        for task, deck in decks.items()
        if deck.restarted
    )
