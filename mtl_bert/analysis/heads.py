"""The form of a task's answers, as a run's configuration names it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Classes:
    """Answers are classes: their names, by number."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Answers are numbers from ``low`` to ``high``."""

    low: float
    high: float


def head_of(node: dict[str, Any]) -> Classes | Scale | None:
    """The head of a task's settings; None for one that is not known here."""
    head = node.get("head", {})
    kind = str(head.get("_target_", "")).rpartition(".")[2]
    if kind == "MultiClass":
        return Classes(tuple(head["names"]))
    if kind == "Binary":
        return Classes(tuple(head.get("names", ("no", "yes"))))
    if kind == "Regression":
        return Scale(float(head["low"]), float(head["high"]))
    return None
