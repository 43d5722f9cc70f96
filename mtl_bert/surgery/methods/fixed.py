"""Fixed task weights: the linear scalarization that every method should be compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Generator, Tensor

from mtl_bert.surgery.methods.base import Method, StepStats, by_task
from mtl_bert.utils.validation import number


@dataclass(frozen=True)
class Fixed(Method):
    """Weight each task's loss by a constant (Xin et al. 2022 find it hard to beat).

    Attributes:
        task_weights: by task; a task that is not named has weight 1.
    """

    task_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        for task, weight in self.task_weights.items():
            number(f"surgery.method.task_weights.{task}", weight, 1.0)

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Refuse a weight for a task that is not there."""
        for task in self.task_weights:
            if task not in tasks:
                raise ValueError(
                    f"surgery.method.task_weights: expected tasks of {', '.join(tasks)}, found "
                    f"{task!r}; write for example 'surgery.method.task_weights={{{tasks[0]}: 0.5}}'"
                )

    def weights(self, step: StepStats, generator: Generator | None = None) -> Tensor:
        """Weights [K]: those set."""
        return by_task(self.task_weights, step.tasks, 1.0)
