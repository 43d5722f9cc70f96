"""What the tasks did to each other, step by step, added up by phase."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mtl_bert.runs.results import Conflicts, Influence, PairConflict
from mtl_bert.surgery.diagnostics import Diagnosis, cosines_of


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


LAYER = re.compile(r"\.layers?\.(\d+)\.")
PARTS = ("embeddings", "pooler")


def layer_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of the shared encoder by part, from its input to its output.

    Args:
        names: of the parameters, ``encoder.…`` for the shared encoder's.

    Returns:
        ``embeddings``, ``layer 0``, ``layer 1``, …, ``pooler`` and, if anything is left, ``rest``
        -> names of its parameters.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("encoder."):
            groups.setdefault(_part(name), []).append(name)
    return groups


def _part(name: str) -> str:
    layer = LAYER.search(name)
    if layer:
        return f"layer {int(layer[1])}"
    return next((part for part in PARTS if part in name), "rest")


Sums = dict[str, list[float]]
"""What is added up, under a name; the first number counts."""


class ConflictMeter:
    """Diagnoses of an epoch's steps by phase, and of those since the last reading.

    Args:
        state: of another, to go on with.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._phases: dict[str, _Tally] = {
            phase: _Tally(tally) for phase, tally in (state or {}).get("phases", {}).items()
        }
        self._recent = _Tally((state or {}).get("recent"))
        self._layers: dict[str, dict[str, Sums]] = {
            phase: {part: _copied(sums) for part, sums in parts.items()}
            for phase, parts in (state or {}).get("layers", {}).items()
        }
        self._recent_layers: dict[str, Sums] = {
            part: _copied(sums) for part, sums in (state or {}).get("recent_layers", {}).items()
        }

    def state(self) -> dict[str, Any]:
        """What another needs to go on."""
        phases = {phase: tally.state() for phase, tally in self._phases.items()}
        layers = {
            phase: {part: _copied(sums) for part, sums in parts.items()}
            for phase, parts in self._layers.items()
        }
        return {
            "phases": phases,
            "recent": self._recent.state(),
            "layers": layers,
            "recent_layers": {part: _copied(sums) for part, sums in self._recent_layers.items()},
        }

    def add(self, phase: str, step: Diagnosis) -> None:
        """Note a joint step."""
        self._phases.setdefault(phase, _Tally()).add(step)
        if len(step.tasks) > 1:
            self._recent.add(step)

    def add_alone(self, phase: str, task: str, norm: float) -> None:
        """Note a step with one task, whose gradient is the update."""
        one = torch.ones(1)
        step = Diagnosis((task,), one[:, None], torch.tensor([norm]), one, one, one, 0.0)
        self.add(phase, step)

    def add_layers(self, phase: str, tasks: tuple[str, ...], grams: Mapping[str, Tensor]) -> None:
        """Note the Gram matrices of an encoder's parts: [K, K] each."""
        parts = self._layers.setdefault(phase, {})
        for part, gram in grams.items():
            for sums in (parts.setdefault(part, {}), self._recent_layers.setdefault(part, {})):
                add_pairs(sums, tasks, cosines_of(gram))

    def layers(self, phase: str) -> dict[str, dict[str, PairConflict]]:
        """The same by part of the encoder, over the steps in which that was looked at."""
        return {part: pairs_of(sums) for part, sums in self._layers.get(phase, {}).items()}

    def of(self, phase: str) -> Conflicts | None:
        """What a phase's steps come to; None where there was none."""
        return self._phases[phase].conflicts() if phase in self._phases else None

    @property
    def several(self) -> int:
        """The epoch's steps with several tasks."""
        return sum(tally.several for tally in self._phases.values())

    def share(self) -> float | None:
        """Of the epoch's steps with several tasks, those in which some pair conflicted."""
        conflicting = sum(tally.conflicting for tally in self._phases.values())
        return conflicting / self.several if self.several else None

    def recent(self) -> dict[str, float]:
        """Metrics by name, over the steps with several tasks since this was last asked."""
        recent, self._recent = self._recent.conflicts(), _Tally()
        layers, self._recent_layers = self._recent_layers, {}
        metrics = {} if recent is None else named(recent)
        for part, sums in layers.items():
            for pair, between in pairs_of(sums).items():
                metrics[f"layers/{part.replace(' ', '-')}/{_name(pair)}"] = between.cosine
        return metrics


def named(conflicts: Conflicts) -> dict[str, float]:
    """The metrics that loggers get."""
    metrics = {"conflict/share": conflicts.conflicting, "conflict/removed": conflicts.removed}
    for pair, between in conflicts.pairs.items():
        metrics[f"conflict/cosine/{_name(pair)}"] = between.cosine
    for task, part in conflicts.tasks.items():
        metrics |= {
            f"conflict/norm/{task}": part.norm,
            f"conflict/update_share/{task}": part.share,
            f"conflict/before/{task}": part.before,
            f"conflict/after/{task}": part.after,
        }
    return metrics


def _name(pair: str) -> str:
    """A pair in the name of a metric."""
    return pair.replace("/", "-")


def _copied(sums: Mapping[str, Sequence[float]]) -> Sums:
    return {name: list(values) for name, values in sums.items()}


class _Tally:
    """Sums over steps."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.several = int(state.get("several", 0))
        self.conflicting = int(state.get("conflicting", 0))
        self.steps, self.removed = int(state.get("steps", 0)), float(state.get("removed", 0.0))
        self.pairs, self.tasks = _copied(state.get("pairs", {})), _copied(state.get("tasks", {}))

    def state(self) -> dict[str, Any]:
        return {
            "several": self.several,
            "conflicting": self.conflicting,
            "steps": self.steps,
            "removed": self.removed,
            "pairs": _copied(self.pairs),
            "tasks": _copied(self.tasks),
        }

    def add(self, step: Diagnosis) -> None:
        self.steps += 1
        self.removed += step.removed
        self.several += len(step.tasks) > 1
        self.conflicting += add_pairs(self.pairs, step.tasks, step.cosines)
        columns = (step.norms, step.shares, step.before, step.after)
        parts = zip(*(column.tolist() for column in columns), strict=True)
        for task, part in zip(step.tasks, parts, strict=True):
            _add(self.tasks, task, *part)

    def conflicts(self) -> Conflicts | None:
        if not self.steps:
            return None
        several = max(1, self.several)
        return Conflicts(
            steps=self.steps,
            several=self.several,
            conflicting=self.conflicting / several,
            removed=self.removed / several,
            pairs=pairs_of(self.pairs),
            tasks={
                task: Influence(
                    steps=int(n), norm=norm / n, share=share / n, before=before / n, after=after / n
                )
                for task, (n, norm, share, before, after) in self.tasks.items()
            },
        )


def add_pairs(sums: Sums, tasks: tuple[str, ...], cosines: Tensor) -> bool:
    """Add the cosines of all pairs; whether any of them was negative."""
    values, conflict = cosines.tolist(), False
    for (i, a), (j, b) in combinations(enumerate(tasks), 2):
        negative = values[i][j] < 0
        conflict |= negative
        _add(sums, f"{a}/{b}", values[i][j], float(negative))
    return conflict


def pairs_of(sums: Sums) -> dict[str, PairConflict]:
    """The means of ``add_pairs``."""
    return {
        pair: PairConflict(steps=int(n), cosine=cosine / n, conflicting=negative / n)
        for pair, (n, cosine, negative) in sums.items()
    }


def _add(sums: Sums, name: str, *values: float) -> None:
    before = sums.get(name, [0.0] * (len(values) + 1))
    sums[name] = [a + b for a, b in zip(before, (1.0, *values), strict=True)]
