"""What a step has come to: losses, dot products of the tasks' gradients, their weights."""

from collections.abc import Mapping, Sequence
from itertools import combinations, compress

import torch
from torch import Tensor


class NonFiniteGradientError(ArithmeticError):
    """A loss or gradient has an infinite or undefined entry.

    Args:
        tasks: the tasks whose loss or gradient it is.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(f"the loss or gradient of {', '.join(tasks)} is not finite")
        self.tasks = tuple(tasks)


class StepResult:
    """What a step has come to; on a GPU, nothing is waited for until something is asked.

    Args:
        tasks: the K tasks that the step had.
        losses: of the tasks: [K].
        finite: whether each task's loss and gradient are: [K].
        gram: the dot products of their gradients: [K, K].
        weights: of the gradients in the update, on the host: [K] float64; None where a task is not
            finite, so that there is no update.
        summed: the part of the Gram matrix whose parameters are summed, where the others are
            averaged over tasks: [K, K] float64; else None.
        grams: of parts of the parameters that were asked for: [K, K] float64 each.

    Attributes:
        weighing: the weights as they were given.
        numbers: losses, finite, gram, one after another: [2 K + K²] float64 on their device. A copy
            on the host may be put here, to read those of several steps at once.
        overflowed: fp16 could not hold the gradients; the next step has a smaller scale.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        losses: Tensor,
        finite: Tensor,
        gram: Tensor,
        weights: Tensor | None,
        summed: Tensor | None = None,
        grams: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.tasks, self.summed, self.grams = tasks, summed, grams or {}
        self.numbers = torch.cat([part.flatten().double() for part in (losses, finite, gram)])
        self.weighing, self.overflowed = weights, False

    @property
    def missing(self) -> Tensor:
        """Whether some loss or gradient is not finite, a truth on the device."""
        return (self.numbers[len(self.tasks) : 2 * len(self.tasks)] == 0).any()

    @property
    def losses(self) -> dict[str, float]:
        """The loss of each task, without λ and without an fp16 scale."""
        return dict(zip(self.tasks, self.numbers[: len(self.tasks)].tolist(), strict=True))

    @property
    def gram(self) -> Tensor:
        """The dot products of the tasks' gradients: [K, K] float64."""
        return self.numbers[2 * len(self.tasks) :].cpu().view(len(self.tasks), -1)

    @property
    def cosines(self) -> Tensor:
        """The cosines between the tasks' gradients: [K, K]; 0 where a gradient is zero."""
        return cosines_of(self.gram)

    @property
    def conflicts(self) -> list[tuple[str, str]]:
        """The pairs of tasks whose gradients point against each other."""
        negative = (self.cosines < 0).tolist()
        pairs = combinations(enumerate(self.tasks), 2)
        return [(a, b) for (i, a), (j, b) in pairs if negative[i][j]]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each task's gradient in the update; empty where the step was skipped."""
        if self.weighing is None or self.skipped:
            return {}
        return dict(zip(self.tasks, self.weighing.tolist(), strict=True))

    @property
    def skipped(self) -> tuple[str, ...]:
        """The tasks whose loss or gradient was not finite; with any, nothing was updated."""
        K = len(self.tasks)
        return tuple(compress(self.tasks, (self.numbers[K : 2 * K] == 0).tolist()))

    def __repr__(self) -> str:
        """Losses and weights, or who made the step impossible."""
        told = f"skipped={self.skipped}" if self.skipped else f"weights={self.weights}"
        return f"StepResult(losses={self.losses}, {told})"


def cosines_of(gram: Tensor) -> Tensor:
    """The cosines between vectors whose dot products these are: [K, K]."""
    norms = gram.diagonal().sqrt()
    return ratio(gram, norms[:, None] * norms)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b > 0, a / b, torch.zeros_like(a))
