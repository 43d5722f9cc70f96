"""Full model finetuning: every task alone, one after another (docs/explanation/paper.md, 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from mtl_bert.sampling.deck import make_decks
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes
from mtl_bert.utils.validation import SamplerError, whole_number


@dataclass(frozen=True)
class Full:
    """Each epoch, every task's plain loss over all its data, task after task, one shared encoder.

    Attributes:
        batch_size: examples in a step.
        order: the tasks' order, which decides the outcome; None means as configured.
        batch_sizes: batch sizes of tasks that have one of their own.
    """

    phase: ClassVar[str] = "full"

    batch_size: int
    order: Sequence[str] | None = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        if self.order is not None and (
            isinstance(self.order, str) or not isinstance(self.order, Sequence)
        ):
            raise ValueError(
                f"sampler.order: expected a list of tasks or null, found {self.order!r}; "
                "write for example sampler.order=[sst,qqp]"
            )

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch: a phase for each task."""
        order = list(sizes) if self.order is None else list(self.order)
        if sorted(order) != sorted(sizes):
            raise SamplerError(
                f"sampler.order: expected each of {', '.join(sizes)} once, found "
                f"{', '.join(order)}; write sampler.order=[{','.join(sizes)}]"
            )
        decks = make_decks(sizes, seed, epoch)
        steps = [
            Step(Phase(f"{self.phase}:{task}", surgery=False), {task: decks[task].deal(size)})
            for task in order
            for size in batch_sizes(sizes[task], self.batch_sizes.get(task, self.batch_size))
        ]
        return Epoch(epoch, tuple(steps))


class Single(Full):
    """``Full``'s plan for independent models: one encoder per task, each on its own data."""

    phase: ClassVar[str] = "single"
