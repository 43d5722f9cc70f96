"""Mean training losses, read off the device only when somebody asks."""

from torch import Tensor


class _Mean:
    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._count = 0

    def add(self, value: Tensor) -> None:
        self._sum = self._sum + value
        self._count += 1

    def read(self) -> float:
        return float(self._sum) / self._count


class LossMeter:
    """The tasks' losses over an epoch and since the last reading."""

    def __init__(self) -> None:
        self._epoch: dict[str, _Mean] = {}
        self._recent: dict[str, _Mean] = {}

    def add(self, task: str, loss: Tensor) -> None:
        """Note the loss of one step."""
        self._epoch.setdefault(task, _Mean()).add(loss)
        self._recent.setdefault(task, _Mean()).add(loss)

    def epoch(self) -> dict[str, float]:
        """Each task's mean over the steps of the epoch that had it."""
        return {task: mean.read() for task, mean in self._epoch.items()}

    def recent(self) -> dict[str, float]:
        """Each task's mean since this was last asked."""
        recent, self._recent = self._recent, {}
        return {task: mean.read() for task, mean in recent.items()}
