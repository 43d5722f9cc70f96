"""Dynamic stop-and-go: converged tasks rest most of the time (Lu et al. 2020, 12-in-1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from mtl_bert.sampling.deck import make_decks, restart_notes
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes, resized
from mtl_bert.sampling.history import History, scores
from mtl_bert.sampling.round_robin import RoundRobin, most_without_repeats
from mtl_bert.utils.validation import number, whole_number


@dataclass(frozen=True)
class StopAndGo(RoundRobin):
    """Round-robin in which a task that no longer improves is in one step of ``every`` only.

    A task stops when its dev score has risen by less than ``rise`` (of itself) in two epochs, and
    goes again when it falls below its best by more than ``fall``. While all have stopped, all go.

    Attributes:
        rise: share of a dev score that it must rise by in two epochs.
        fall: share of the best dev score that a stopped task may lose.
        every: steps to one step of a stopped task.
    """

    decided_by: ClassVar[str] = "whether each task's dev score still rises"

    rise: float = 0.001
    fall: float = 0.005
    every: int = 4

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        number("sampler.rise", self.rise, 0.001)
        number("sampler.fall", self.fall, 0.005)
        whole_number("sampler.every", self.every)

    def __call__(
        self, sizes: Sizes, epoch: int, epochs: int, seed: int, history: History = ()
    ) -> Epoch:
        """Plan one epoch."""
        stopped = [task for task in sizes if self.has_stopped(scores(history, task))]
        if len(stopped) == len(sizes):
            stopped = []
        decks, phase = make_decks(sizes, seed, epoch), Phase("stop_and_go")
        total = self.B or most_without_repeats(sizes, self.batch_size, self.batch_sizes)
        steps = []
        for place, size in enumerate(batch_sizes(total, self.batch_size)):
            rows = {}
            for task, deck in decks.items():
                if task not in stopped or place % self.every == 0:
                    own = self.batch_sizes.get(task, self.batch_size)
                    rows[task] = deck.deal(resized(size, self.batch_size, own))
            steps.append(Step(phase, rows))
        resting = tuple(f"{task} has stopped: one step in {self.every}" for task in stopped)
        return Epoch(epoch, tuple(steps), resting + restart_notes(decks))

    def has_stopped(self, found: Iterable[float]) -> bool:
        """Whether a task with these dev scores, in order, rests."""
        seen: list[float] = []
        stopped = False
        for score in found:
            seen.append(score)
            if stopped:
                stopped = max(seen) - score <= self.fall * abs(max(seen))
            elif len(seen) > 2:
                stopped = score - seen[-3] < self.rise * abs(seen[-3])
        return stopped
