"""Mean training losses."""

from typing import Any


class _Mean:
    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self.total, self.count = total, count

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    def read(self) -> float:
        return self.total / self.count


class LossMeter:
    """The tasks' losses over an epoch and since the last reading."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._means: dict[str, dict[str, _Mean]] = {
            name: {task: _Mean(*mean) for task, mean in (state or {}).get(name, {}).items()}
            for name in ("epoch", "recent")
        }

    def state(self) -> dict[str, Any]:
        """What another meter needs to go on."""
        return {
            name: {task: [mean.total, mean.count] for task, mean in means.items()}
            for name, means in self._means.items()
        }

    def add(self, task: str, loss: float) -> None:
        """Note the loss of one step."""
        for means in self._means.values():
            means.setdefault(task, _Mean()).add(loss)

    def epoch(self) -> dict[str, float]:
        """Each task's mean over the steps of the epoch that had it."""
        return {task: mean.read() for task, mean in self._means["epoch"].items()}

    def recent(self) -> dict[str, float]:
        """Each task's mean since this was last asked."""
        recent, self._means["recent"] = self._means["recent"], {}
        return {task: mean.read() for task, mean in recent.items()}
