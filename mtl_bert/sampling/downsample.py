"""Random undersampling: every task cut to the smallest one's size (He and Garcia 2009, 3.1.1)."""

from dataclasses import dataclass

from mtl_bert.sampling.deck import Deck
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step
from mtl_bert.sampling.mixture import Budget
from mtl_bert.sampling.vanilla import grouped_by_task
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class Downsample(Budget):
    """Keep at most ratio · min N examples of every task and draw steps from their shuffled union.

    Attributes:
        ratio: of a task's examples to the smallest task's, at most; ≥ 1.
        redraw: choose other examples in each epoch; otherwise those of the first throughout.
    """

    ratio: float = 1.0
    redraw: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        number("sampler.ratio", self.ratio, 1, least=1)
        if not isinstance(self.redraw, bool):
            raise ValueError(
                f"sampler.redraw: expected true or false, found {self.redraw!r}; "
                "write sampler.redraw=true"
            )

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch."""
        most = int(self.ratio * min(sizes.values()))
        drawn = epoch if self.redraw else 1
        kept = {
            task: Deck(size, seed, task, drawn).deal(min(size, most))
            for task, size in sizes.items()
        }
        cut = {task: len(rows) for task, rows in kept.items()}
        union = Deck(sum(cut.values()), seed, "union", epoch)
        phase = Phase("downsample")
        steps = tuple(
            Step(phase, {task: kept[task][numbers] for task, numbers in step.items()})
            for step in grouped_by_task(union, self.step_sizes(cut), cut)
        )
        notes = (f"B={self.B} draws more than the {sum(cut.values())} examples that are kept",)
        return Epoch(epoch, steps, notes if union.restarted else ())
