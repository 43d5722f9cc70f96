"""How much an epoch and a step draw where the tasks themselves are drawn at random."""

from dataclasses import dataclass
from typing import ClassVar

from mtl_bert.sampling.checks import whole_number
from mtl_bert.sampling.plan import Sizes, batch_sizes


@dataclass(frozen=True)
class Budget:
    """The settings that vanilla and annealed sampling share.

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

    def batches(self, sizes: Sizes) -> int:
        """Batches in a step."""
        return self.batches_per_step or len(sizes)

    def step_sizes(self, sizes: Sizes) -> list[int]:
        """Examples in each step of an epoch, over all its batches; the last is ragged."""
        batches = self.batches(sizes)
        draws = sum(sizes.values()) if self.B is None else self.B * batches
        return batch_sizes(draws, self.batch_size * batches)
