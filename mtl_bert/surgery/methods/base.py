"""What every method is: a map from what a step shows of K tasks' gradients to K weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.gram import gram_matrix


@dataclass(frozen=True)
class StepStats:
    """What a method sees of a step in which K tasks are represented.

    Attributes:
        tasks: their names, K of them.
        gram: G[i, j] = g_i · g_j: [K, K] float64 on the host.
        losses: of the step: [K] float64 on the host.
    """

    tasks: tuple[str, ...]
    gram: Tensor
    losses: Tensor

    def only(self, kept: Tensor) -> "StepStats":
        """Leave out the tasks whose entry in ``kept`` [K] is false."""
        tasks = tuple(task for task, keep in zip(self.tasks, kept.tolist(), strict=True) if keep)
        return StepStats(tasks, self.gram[kept][:, kept], self.losses[kept])


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
            step: its Gram matrix, its losses and its tasks' names.
            generator: the source of whatever randomness the method has; None is torch's default.
        """

    def __call__(
        self,
        matrix: Tensor,
        generator: Generator | None = None,
        *,
        losses: Sequence[float] | Tensor | None = None,
        tasks: Sequence[str] | None = None,
    ) -> Tensor:
        """Combine the rows of a gradient matrix [K, P] into one update [P].

        Args:
            matrix: a task's gradient in each row.
            generator: of the method's randomness.
            losses: of the tasks [K], for the methods that weight losses.
            tasks: names [K], for the methods that are set or remember by task; 0, 1, … by default.

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
        step = StepStats(names, gram_matrix([list(matrix)], K), given.detach().double().cpu())
        with torch.autocast(matrix.device.type, enabled=False):
            return weights_of(self, step, generator).to(matrix) @ matrix


def weights_of(method: Method, step: StepStats, generator: Generator | None = None) -> Tensor:
    """A method's weights [K] float64; a gradient that is zero takes no part and has weight 0."""
    kept = step.gram.diagonal() > 0
    weights = torch.zeros(len(step.tasks), dtype=torch.float64)
    if kept.any():
        weights[kept] = method.weights(step if kept.all() else step.only(kept), generator)
    return weights


def require_losses(method: Method, losses: Tensor) -> None:
    """Raise ValueError if a method that weights losses was not given them."""
    if losses.isnan().any():
        raise ValueError(
            f"{type(method).__name__}: expected the tasks' losses, found none; "
            "write method(matrix, losses=[l1, l2, ...])"
        )


def by_task(values: Mapping[str, float], tasks: Sequence[str], default: float) -> Tensor:
    """The value of each task [K] float64, or ``default``."""
    return torch.tensor([values.get(task, default) for task in tasks], dtype=torch.float64)
