"""GradNorm: tasks train at like rates (Chen et al. 2018, Algorithm 1)."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, by_task, require_losses
from mtl_bert.utils.validation import number

LEAST = 1e-3  # the paper's weights may pass through zero; a task must not be trained backwards
TINY = 1e-12  # a loss of 0 has nothing left to train


@dataclass(frozen=True)
class GradNorm(Method):
    """Learn weights w under which gradient norms are alike, larger where a task lags behind.

    With G_i = w_i |g_i|, and r_i the task's share of its first loss that is left, relative to the
    others', w takes a gradient step on Σ |G_i - mean(G) r_i^α|, the target held constant
    (equation 2), and is scaled to sum to the number of tasks. The step is taken in units of
    mean(G), so that lr does not depend on how large the gradients are.

    Attributes:
        alpha: how strongly tasks that lag are favoured (the paper's 1.5; 0 asks for equal norms).
        lr: learning rate of the weights w (the paper's 0.025).
    """

    alpha: float = 1.5
    lr: float = 0.025
    _memory: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        number("surgery.method.alpha", self.alpha, 1.5)
        number("surgery.method.lr", self.lr, 0.025)

    @property
    def memory(self) -> dict[str, float]:
        """Each task's weight, "weight TASK", and first loss, "first TASK"."""
        return self._memory

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K] as they were before this step; those of represented tasks sum to K."""
        require_losses(self, step.losses)
        stored = self._recall("weight", step.tasks, torch.ones(len(step.tasks)))
        weights = stored * len(stored) / stored.sum()
        left = step.losses / self._recall("first", step.tasks, step.losses.clamp_min(TINY))
        norms = step.gram.diagonal().sqrt()
        G = weights * norms
        target = G.mean() * (left / left.mean().clamp_min(TINY)) ** self.alpha
        slope = (G - target).sign() * norms / G.mean()
        learned = (weights - self.lr * slope).clamp_min(LEAST)
        learned = learned * stored.sum() / learned.sum()  # tasks that are absent keep their share
        for task, weight in zip(step.tasks, learned.tolist(), strict=True):
            self._memory[f"weight {task}"] = weight
        return weights

    def _recall(self, what: str, tasks: tuple[str, ...], default: Tensor) -> Tensor:
        """What is remembered of each task [K]; a task that is new brings its default."""
        for task, value in zip(tasks, default.tolist(), strict=True):
            self._memory.setdefault(f"{what} {task}", value)
        return by_task(self._memory, [f"{what} {task}" for task in tasks], torch.nan)
