"""What the steps of a run came to, added up: losses, and what the tasks did to each other."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mtl_bert.runs.results import Conflicts, Influence, PairConflict
from mtl_bert.surgery.diagnostics import Diagnosis
from mtl_bert.surgery.result import cosines_of

Sums = dict[str, list[float]]
"""Sums of numbers under a name; the first says how often there were any."""


def _add(sums: Sums, name: str, *values: float) -> None:
    before = sums.get(name, [0.0] * (len(values) + 1))
    sums[name] = [a + b for a, b in zip(before, (1.0, *values), strict=True)]


def _means(sums: Sums) -> dict[str, float]:
    return {name: total / count for name, (count, total) in sums.items()}


class LossMeter:
    """The tasks' losses over an epoch and since the last reading.

    Args:
        state: of another meter, to go on with.
    """

    def __init__(self, state: dict[str, Sums] | None = None) -> None:
        self._sums = state or {"epoch": {}, "recent": {}}

    def state(self) -> dict[str, Sums]:
        """What another meter needs to go on."""
        return deepcopy(self._sums)

    def add(self, task: str, loss: float) -> None:
        """Note the loss of one step."""
        for sums in self._sums.values():
            _add(sums, task, loss)

    def epoch(self) -> dict[str, float]:
        """Each task's mean over the steps of the epoch that had it."""
        return _means(self._sums["epoch"])

    def recent(self) -> dict[str, float]:
        """Each task's mean since this was last asked."""
        recent, self._sums["recent"] = self._sums["recent"], {}
        return _means(recent)


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
            part = next((part for part in PARTS if part in name), "rest")
            if layer := LAYER.search(name):
                part = f"layer {int(layer[1])}"
            groups.setdefault(part, []).append(name)
    return groups


class ConflictMeter:
    """Diagnoses of an epoch's steps by phase, and of those since the last reading.

    Args:
        state: of another meter, to go on with.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {"phases": {}, "recent": {}}
        self._phases = {phase: _Tally(**sums) for phase, sums in state["phases"].items()}
        self._recent = _Tally(**state["recent"])

    def state(self) -> dict[str, Any]:
        """What another meter needs to go on."""
        phases = {phase: asdict(tally) for phase, tally in self._phases.items()}
        return {"phases": phases, "recent": asdict(self._recent)}

    def add(self, phase: str, step: Diagnosis, layers: Mapping[str, Tensor] | None = None) -> None:
        """Note a multi-task step.

        Args:
            phase: its name.
            step: what its Gram matrix says.
            layers: the Gram matrices of an encoder's parts, where they were looked at: [K, K] each.
        """
        self._phases.setdefault(phase, _Tally()).add(step, layers or {})
        if len(step.tasks) > 1:
            self._recent.add(step, layers or {})

    def add_alone(self, phase: str, task: str, norm: float) -> None:
        """Note a step with one task, whose gradient is the update."""
        one = torch.ones(1)
        self.add(phase, Diagnosis((task,), one[:, None], norm * one, one, one, one, 0.0))

    def of(self, phase: str) -> Conflicts | None:
        """What a phase's steps come to; None where there was none."""
        return self._phases[phase].conflicts() if phase in self._phases else None

    def layers(self, phase: str) -> dict[str, dict[str, PairConflict]]:
        """The pairs by part of the encoder, over the steps in which that was looked at."""
        parts = self._phases.get(phase, _Tally()).layers
        return {part: _pairs(sums) for part, sums in parts.items()}

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
        recent, self._recent = self._recent, _Tally()
        if (found := recent.conflicts()) is None:
            return {}
        metrics = {"conflict/share": found.conflicting, "conflict/removed": found.removed}
        metrics |= _named_cosines("conflict/cosine", found.pairs)
        for task, part in found.tasks.items():
            metrics |= {
                f"conflict/norm/{task}": part.norm,
                f"conflict/update_share/{task}": part.share,
                f"conflict/before/{task}": part.before,
                f"conflict/after/{task}": part.after,
            }
        for layer, sums in recent.layers.items():
            metrics |= _named_cosines(f"layers/{layer.replace(' ', '-')}", _pairs(sums))
        return metrics


def _named_cosines(group: str, pairs: Mapping[str, PairConflict]) -> dict[str, float]:
    return {f"{group}/{pair.replace('/', '-')}": of.cosine for pair, of in pairs.items()}


@dataclass
class _Tally:
    """Sums over steps; those of pairs also by part of the encoder."""

    steps: int = 0
    several: int = 0
    conflicting: int = 0
    removed: float = 0.0
    pairs: Sums = field(default_factory=dict)
    tasks: Sums = field(default_factory=dict)
    layers: dict[str, Sums] = field(default_factory=dict)

    def add(self, step: Diagnosis, layers: Mapping[str, Tensor]) -> None:
        self.steps += 1
        self.removed += step.removed
        self.several += len(step.tasks) > 1
        self.conflicting += _add_pairs(self.pairs, step.tasks, step.cosines)
        columns = (step.norms, step.shares, step.before, step.after)
        parts = zip(*(column.tolist() for column in columns), strict=True)
        for task, part in zip(step.tasks, parts, strict=True):
            _add(self.tasks, task, *part)
        for layer, gram in layers.items():
            _add_pairs(self.layers.setdefault(layer, {}), step.tasks, cosines_of(gram))

    def conflicts(self) -> Conflicts | None:
        if not self.steps:
            return None
        several = max(1, self.several)
        return Conflicts(
            steps=self.steps,
            several=self.several,
            conflicting=self.conflicting / several,
            removed=self.removed / several,
            pairs=_pairs(self.pairs),
            tasks={
                task: Influence(
                    steps=int(n), norm=norm / n, share=share / n, before=before / n, after=after / n
                )
                for task, (n, norm, share, before, after) in self.tasks.items()
            },
        )


def _add_pairs(sums: Sums, tasks: tuple[str, ...], cosines: Tensor) -> bool:
    """Add the cosines of all pairs; whether any of them was negative."""
    values, conflict = cosines.tolist(), False
    for (i, a), (j, b) in combinations(enumerate(tasks), 2):
        negative = values[i][j] < 0
        conflict |= negative
        _add(sums, f"{a}/{b}", values[i][j], float(negative))
    return conflict


def _pairs(sums: Sums) -> dict[str, PairConflict]:
    return {
        pair: PairConflict(steps=int(n), cosine=cosine / n, conflicting=negative / n)
        for pair, (n, cosine, negative) in sums.items()
    }
