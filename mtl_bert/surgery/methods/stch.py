"""Smooth Tchebycheff scalarization (Lin et al. 2024), of logarithms as in its multi-task code."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import (
    Method,
    StepStats,
    add_to_epoch,
    by_task,
    divisors,
    epoch_of,
)
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class STCH(Method):
    """Minimize a smooth maximum of the K losses, each relative to z, its mean after a warm-up.

        K μ log Σ_i exp(log(L_i / z_i) / μ)

    In the warm-up it is Σ log L_i; z_i is the mean of a task's losses over its last warm-up epoch,
    in the steps in which surgery saw it. A task that first comes later, or a method without a
    warm-up, has its first loss as z. (This is the code at github.com/Xi-L/STCH, STCH_MTL, which
    warms up for 5 of 200 epochs; the paper's equation has preferences times L_i - z_i in place of
    logarithms.)

    Attributes:
        mu: μ, how smooth: with a small one only the worst task counts (the authors' 1).
        warmup: epochs before; 0 is none.
    """

    mu: float = 1.0
    warmup: int = 1
    _memory: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.mu", self.mu, 1.0, exclusive=True)
        number("surgery.method.warmup", self.warmup, 1, whole=True)

    @property
    def memory(self) -> dict[str, float]:
        """z of each task, "mean TASK", of so many steps of an epoch."""
        return self._memory

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: K softmax(log(L / z) / μ) / L, in the warm-up 1 / L."""
        losses, epoch = divisors(self, step), epoch_of(self, step)
        for task, loss in zip(step.tasks, losses.tolist(), strict=True):
            if epoch <= self.warmup or f"mean {task}" not in self._memory:
                add_to_epoch(self._memory, task, loss, epoch)
        if epoch <= self.warmup:
            return 1 / losses
        z = by_task(self._memory, [f"mean {task}" for task in step.tasks], torch.nan)
        return len(losses) * ((losses / z).log() / self.mu).softmax(0) / losses
