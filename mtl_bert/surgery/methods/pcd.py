"""Priority-constrained descent: one task leads (Varam & AlHajri 2026, arXiv:2606.29521)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, by_task
from mtl_bert.utils.validation import number

RIDGE = 1e-12  # on the cosines: gradients that depend on each other have an answer too
PRECISION = 1e-10  # of what is asked
ROUNDING = 1e-14
TINY = 1e-300
VIOLATED = 1e-6  # by a larger share of what is asked, no direction serves all of them


@dataclass(frozen=True)
class PCD(Method):
    """Follow the main task as closely as every other task still makes a little progress.

    With v_i the moving average of |g_i|² without its bias, and g̃_i = g_i / √v_i, the update is

        argmin ½ |d - g̃_1|²    where g̃_j · d ≥ τ |g̃_j|² for every other task j

    brought to the length of the main task's gradient g_1. Where no d does that, it is g_1. In a
    step without the main task the others' gradients are added up. As TorchJD's PCD with ε = 0,
    whose memory goes by place; this one's goes by task.

    Attributes:
        main: the task that leads.
        tau: τ, the progress of each other task as a share of its own step's (the paper's 0.02).
        beta: of the moving average, the weight of what was before.
    """

    main: str
    tau: float = 0.02
    beta: float = 0.999
    _memory: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.main, str):
            raise ValueError(
                f"surgery.method.main: expected the task that leads, found {self.main!r}; "
                "write surgery.method.main=TASK"
            )
        number("surgery.method.tau", self.tau, 0.02, most=1)
        number("surgery.method.beta", self.beta, 0.999, most=1 - 1e-9)

    @property
    def memory(self) -> dict[str, float]:
        """Each task's moving average, "square TASK", of so many steps, "steps TASK"."""
        return self._memory

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Refuse a main task that is not there."""
        if self.main not in tasks:
            raise ValueError(
                f"surgery.method.main: expected one of {', '.join(tasks)}, found {self.main!r}; "
                f"write for example surgery.method.main={tasks[0]}"
            )

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K] ≥ 0; 0 for another task that makes its progress anyway."""
        norms = step.gram.diagonal().sqrt()
        lengths = norms / self._averages(step.tasks, norms)  # |g̃|
        if self.main not in step.tasks or len(norms) == 1:
            return torch.ones_like(norms)
        lead = step.tasks.index(self.main)
        others = torch.arange(len(norms)) != lead
        cosines = step.gram / norms / norms[:, None]
        A = cosines[others][:, others]
        b = self.tau * lengths[others] / lengths[lead] - cosines[others, lead]
        forces = _nonnegative(A + RIDGE * torch.eye(len(A), dtype=torch.float64), b)
        direction = torch.zeros_like(norms)  # of unit gradients
        direction[lead] = 1.0
        if (b - A @ forces).max() <= VIOLATED * b.abs().max():
            direction[others] = forces
        squared = direction @ cosines @ direction
        if squared <= ROUNDING * direction.sum() ** 2:
            return torch.zeros_like(norms)
        return direction * norms[lead] / norms / squared.sqrt()

    def _averages(self, tasks: Sequence[str], norms: Tensor) -> Tensor:
        """√v [K], with this step's."""
        for task, norm in zip(tasks, norms.tolist(), strict=True):
            before = self._memory.get(f"square {task}", 0.0)
            self._memory[f"square {task}"] = self.beta * before + (1 - self.beta) * norm**2
            self._memory[f"steps {task}"] = self._memory.get(f"steps {task}", 0.0) + 1
        squares, steps = (
            by_task(self._memory, [f"{what} {task}" for task in tasks], torch.nan)
            for what in ("square", "steps")
        )
        return (squares / (1 - self.beta**steps)).sqrt()


def _nonnegative(A: Tensor, b: Tensor) -> Tensor:
    """The x ≥ 0 at which xᵀAx / 2 - bᵀx is least (Lawson & Hanson 1974, chapter 23).

    Args:
        A: positive definite.
        b: as long, at least one number.
    """
    x, free = torch.zeros_like(b), torch.zeros_like(b, dtype=torch.bool)
    for _ in range(10 * len(b)):  # about len(b) are needed; rounding might go in circles
        slope = (b - A @ x).masked_fill(free, -torch.inf)
        if slope.max() <= PRECISION * b.abs().max():
            break
        free[slope.argmax()] = True
        while True:
            best = torch.zeros_like(x)
            best[free] = torch.linalg.solve(A[free][:, free], b[free])
            if (best[free] > 0).all():
                break
            ratios = x / (x - best).clamp_min(TINY)
            ratios = ratios.masked_fill(~free | (best > 0), torch.inf)
            x = x + ratios.min() * (best - x)
            free[ratios.argmin()] = False
            x[~free] = 0.0
        x = best
    return x
