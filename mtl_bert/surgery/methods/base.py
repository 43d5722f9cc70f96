"""What every method is: a map from what a step shows of K tasks' gradients to K weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.gram import gram_matrix
from mtl_bert.utils.errors import UserError

LEAST_LOSS = 1e-8
"""What a smaller loss counts as where it is divided by; DB-MTL's own code adds as much."""


class LossError(UserError, ValueError):
    """A negative loss in a method that divides by losses."""


@dataclass(frozen=True)
class StepStats:
    """What a method sees of a step in which K tasks are represented.

    Attributes:
        tasks: their names, K of them.
        gram: G[i, j] = g_i · g_j: [K, K] float64 on the host.
        losses: of the step, over all processes: [K] float64 on the host.
        epoch: its number, from 1; None where nobody has told it.
    """

    tasks: tuple[str, ...]
    gram: Tensor
    losses: Tensor
    epoch: int | None = None

    def only(self, kept: Tensor) -> "StepStats":
        """Leave out the tasks whose entry in ``kept`` [K] is false."""
        tasks = tuple(task for task, keep in zip(self.tasks, kept.tolist(), strict=True) if keep)
        gram, losses = self.gram[kept][:, kept], self.losses[kept]
        return replace(self, tasks=tasks, gram=gram, losses=losses)


class Method(ABC):
    """How gradients become one update: the weighted sum of the K task gradients.

    Methods are choices (frozen dataclasses). What one remembers between steps, numbers by name,
    is in ``memory``, where a checkpoint finds it; most remember nothing.

        update = PCGrad()(torch.stack([g1, g2, g3]))  # gradients [P] each; update [P]
    """

    @property
    def memory(self) -> dict[str, float]:
        """What the method remembers; filling the dictionary restores it."""
        return {}

    def check_tasks(self, tasks: Sequence[str]) -> None:  # noqa: B027  most are set for no task
        """Raise ValueError if a setting is for a task that is not one of ``tasks``."""

    @abstractmethod
    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K] float64 for K ≥ 1 gradients, none of which is zero (see ``weights_of``).

        Args:
            step: its Gram matrix, its losses, its tasks' names, its epoch.
            generator: the source of whatever randomness the method has; None is torch's default.
        """

    def __call__(
        self,
        matrix: Tensor,
        generator: Generator | None = None,
        *,
        losses: Sequence[float] | Tensor | None = None,
        tasks: Sequence[str] | None = None,
        epoch: int | None = None,
    ) -> Tensor:
        """Combine the rows of a gradient matrix [K, P] into one update [P].

        Args:
            matrix: a task's gradient in each row.
            generator: of the method's randomness.
            losses: of the tasks [K], for the methods that weight losses.
            tasks: names [K], for the methods that are set or remember by task; 0, 1, … by default.
            epoch: its number, from 1, for the methods that look at epochs.

        Raises:
            ValueError: not a gradient matrix, or no losses for a method that needs them.
        """
        if matrix.ndim != 2 or not matrix.is_floating_point():
            raise ValueError(
                f"expected a float matrix [K, P] with a task's gradient in each row, found "
                f"{matrix.dtype} of shape {list(matrix.shape)}; write torch.stack([g1, g2, ...])"
            )
        K = len(matrix)
        names = tuple(str(k) for k in range(K)) if tasks is None else tuple(tasks)
        given = torch.full([K], torch.nan) if losses is None else torch.as_tensor(losses)
        if len(names) != K or given.shape != (K,):
            raise ValueError(
                f"expected a loss and a name for each of {K} rows, found {given.numel()} losses "
                f"and {len(names)} names; leave tasks= out to have them numbered"
            )
        gram, given = gram_matrix([list(matrix)], K), given.detach().double().cpu()
        step = StepStats(names, gram, given, epoch)
        with torch.autocast(matrix.device.type, enabled=False):
            return weights_of(self, step, generator).to(matrix) @ matrix


def weights_of(method: Method, step: StepStats, generator: Generator | None = None) -> Tensor:
    """A method's weights [K] float64; a gradient that is zero takes no part and has weight 0."""
    kept = step.gram.diagonal() > 0
    weights = torch.zeros(len(step.tasks), dtype=torch.float64)
    if kept.any():
        weights[kept] = method.weights(step if kept.all() else step.only(kept), generator)
    return weights


def require_losses(method: object, losses: Tensor) -> None:
    """Raise ValueError if a method that weights losses was not given them."""
    if losses.isnan().any():
        raise ValueError(
            f"{type(method).__name__}: expected the tasks' losses, found none; "
            "write method(matrix, losses=[l1, l2, ...])"
        )


def divisors(who: object, step: StepStats) -> Tensor:
    """The losses [K] to divide by or to take logarithms of: at least ``LEAST_LOSS``.

    Raises:
        LossError: ``who`` cannot use one that is negative.
        ValueError: there are none.
    """
    require_losses(who, step.losses)
    for task, loss in zip(step.tasks, step.losses.tolist(), strict=True):
        if loss < 0:
            raise LossError(
                f"surgery: expected losses ≥ 0, by which {type(who).__name__} divides, found "
                f"{loss:g} of {task}; write surgery=pcgrad, or give {task} another loss"
            )
    return step.losses.clamp_min(LEAST_LOSS)


def epoch_of(method: Method, step: StepStats) -> int:
    """The number of the epoch; ValueError if nobody has told it."""
    if step.epoch is None:
        raise ValueError(
            f"{type(method).__name__}: expected the number of the epoch, found none; "
            "write surgeon.step(optimizer, epoch=epoch)"
        )
    return step.epoch


def add_to_epoch(memory: dict[str, float], task: str, loss: float, epoch: int) -> float | None:
    """Add a task's loss to the mean of its epoch, "mean TASK".

    Returns:
        The mean of the task's epoch before, where this is its first step of an epoch.
    """
    ended = None
    if memory.get(f"epoch {task}") != epoch:
        ended = memory.get(f"mean {task}")
        memory.update({f"epoch {task}": float(epoch), f"steps {task}": 0.0, f"mean {task}": 0.0})
    memory[f"steps {task}"] += 1
    memory[f"mean {task}"] += (loss - memory[f"mean {task}"]) / memory[f"steps {task}"]
    return ended


def by_task(values: Mapping[str, float], tasks: Sequence[str], default: float) -> Tensor:
    """The value of each task [K] float64, or ``default``."""
    return torch.tensor([values.get(task, default) for task in tasks], dtype=torch.float64)
