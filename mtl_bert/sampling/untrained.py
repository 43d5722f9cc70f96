"""The random baseline: untrained heads on the encoder as it comes (docs/explanation/paper.md)."""

from dataclasses import dataclass

from mtl_bert.sampling.epoch import Epoch, Sizes


@dataclass(frozen=True)
class Untrained:
    """Train nothing: every epoch is empty."""

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan an epoch without steps."""
        return Epoch(epoch, ())
