"""Dynamic weight average (Liu, Johns & Davison 2019, End-to-End MTL with Attention)."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import (
    Method,
    StepStats,
    add_to_epoch,
    divisors,
    epoch_of,
)
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class DWA(Method):
    """Give weight to the tasks whose loss has fallen least from one epoch to the next.

    With L_i(e) the mean of a task's losses over the steps of epoch e in which surgery saw it,

        w_i = K exp(r_i / T) / Σ_j exp(r_j / T)        r_i = L_i(e - 1) / L_i(e - 2)

    over the K tasks of the step. In a task's first two epochs its r is 1, so that all weights are;
    an epoch without the task is not counted.

    Attributes:
        temperature: T, how alike the weights are (the paper's 2).
    """

    temperature: float = 2.0
    _memory: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.temperature", self.temperature, 2.0, exclusive=True)

    @property
    def memory(self) -> dict[str, float]:
        """Each task's mean loss in this epoch, of so many steps, and in the two before."""
        return self._memory

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K], which sum to K and stay the same for an epoch."""
        losses, epoch = divisors(self, step).tolist(), epoch_of(self, step)
        for task, loss in zip(step.tasks, losses, strict=True):
            ended = add_to_epoch(self._memory, task, loss, epoch)
            if ended is not None:
                before = self._memory.get(f"last {task}", ended)
                self._memory.update({f"last {task}": ended, f"older {task}": before})
        rates = [
            self._memory.get(f"last {task}", 1.0) / self._memory.get(f"older {task}", 1.0)
            for task in step.tasks
        ]
        rate = torch.tensor(rates, dtype=torch.float64)
        return len(rates) * (rate / self.temperature).softmax(0)
