"""What the steps of an epoch came to, added up: losses, and what the tasks did to each other."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from pydantic import BaseModel
from torch import Tensor

from mtl_bert.runs.results import Conflicts, Influence, PairConflict
from mtl_bert.surgery.diagnostics import Diagnosis
from mtl_bert.surgery.result import cosines_of
from mtl_bert.training.optim import LAYER

Sums = dict[str, list[float]]
"""Sums of numbers under a name; the first says how often there were any."""

PARTS = ("embeddings", "pooler")


def _add(sums: Sums, name: str, *values: float) -> None:
    before = sums.get(name, [0.0] * (len(values) + 1))
    sums[name] = [a + b for a, b in zip(before, (1.0, *values), strict=True)]


def _means(sums: Sums) -> dict[str, float]:
    return {name: total / count for name, (count, total) in sums.items()}


class Tally(BaseModel):
    """Sums over steps, of pairs of tasks also by part of the encoder."""

    steps: int = 0
    several: int = 0  # of the steps, those with several tasks
    conflicting: int = 0  # of those, the ones in which some pair conflicted
    removed: float = 0.0
    pairs: Sums = {}
    tasks: Sums = {}
    layers: dict[str, Sums] = {}

    def add(self, step: Diagnosis, layers: Mapping[str, Tensor]) -> None:
        """Note a step, and the Gram matrices of parts of the encoder: [K, K] each."""
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

    def pairs_by_layer(self) -> dict[str, dict[str, PairConflict]]:
        """The pairs by part of the encoder, over the steps in which that was looked at."""
        return {part: _pairs(sums) for part, sums in self.layers.items()}

    def conflicts(self) -> Conflicts:
        """What the steps come to; there is at least one."""
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
    values, pairs = cosines.tolist(), combinations(enumerate(tasks), 2)
    found = {f"{a}/{b}": values[i][j] for (i, a), (j, b) in pairs}
    for pair, cosine in found.items():
        _add(sums, pair, cosine, float(cosine < 0))
    return any(cosine < 0 for cosine in found.values())


def _pairs(sums: Sums) -> dict[str, PairConflict]:
    return {
        pair: PairConflict(steps=int(n), cosine=cosine / n, conflicting=negative / n)
        for pair, (n, cosine, negative) in sums.items()
    }


class EpochSums(BaseModel):
    """The steps of an epoch, and those since the last reading: a value that checkpoints keep."""

    all_losses: Sums = {}
    all_squared_norms: Sums = {}  # of tasks' gradients, in steps with several
    recent_losses: Sums = {}
    phases: dict[str, Tally] = {}
    recent_steps: Tally = Tally()  # those with several tasks

    def add_losses(self, losses: Mapping[str, float]) -> None:
        """Note the losses of a step, by task."""
        for task, loss in losses.items():
            for sums in (self.all_losses, self.recent_losses):
                _add(sums, task, loss)

    def add(self, phase: str, step: Diagnosis, layers: Mapping[str, Tensor] | None = None) -> None:
        """Note what a step's Gram matrix says, and those of an encoder's parts, if they do."""
        self.phases.setdefault(phase, Tally()).add(step, layers or {})
        if len(step.tasks) > 1:
            self.recent_steps.add(step, layers or {})
            for task, norm in zip(step.tasks, step.norms.tolist(), strict=True):
                _add(self.all_squared_norms, task, norm**2)

    def add_alone(self, phase: str, task: str, norm: float) -> None:
        """Note a step with one task, whose gradient is the update."""
        one = torch.ones(1)
        self.add(phase, Diagnosis((task,), one[:, None], norm * one, one, one, one, 0.0))

    def losses(self) -> dict[str, float]:
        """Each task's mean over the steps that had it."""
        return _means(self.all_losses)

    def squared_norms(self) -> dict[str, float]:
        """Each task's mean squared gradient norm over the steps that had it among others."""
        return _means(self.all_squared_norms)

    @property
    def several(self) -> int:
        """The steps with several tasks."""
        return sum(tally.several for tally in self.phases.values())

    def share(self) -> float | None:
        """Of the steps with several tasks, those in which some pair conflicted."""
        conflicting = sum(tally.conflicting for tally in self.phases.values())
        return conflicting / self.several if self.several else None

    def recent(self) -> dict[str, float]:
        """Metrics by name since this was last asked: losses, and of steps with several tasks."""
        metrics = {f"train/loss/{task}": mean for task, mean in _means(self.recent_losses).items()}
        steps, self.recent_losses, self.recent_steps = self.recent_steps, {}, Tally()
        if not steps.steps:
            return metrics
        found = steps.conflicts()
        metrics |= {"conflict/share": found.conflicting, "conflict/removed": found.removed}
        metrics |= _named_cosines("conflict/cosine", found.pairs)
        for task, part in found.tasks.items():
            metrics |= {
                f"conflict/norm/{task}": part.norm,
                f"conflict/update_share/{task}": part.share,
                f"conflict/before/{task}": part.before,
                f"conflict/after/{task}": part.after,
            }
        for layer, pairs in steps.pairs_by_layer().items():
            metrics |= _named_cosines(f"layers/{layer.replace(' ', '-')}", pairs)
        return metrics


def _named_cosines(group: str, pairs: Mapping[str, PairConflict]) -> dict[str, float]:
    return {f"{group}/{pair.replace('/', '-')}": of.cosine for pair, of in pairs.items()}


def layer_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """The shared encoder's parameters by part: embeddings, layer 0, layer 1, …, pooler, rest."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("encoder."):
            part = next((part for part in PARTS if part in name), "rest")
            if layer := LAYER.search(name):
                part = f"layer {int(layer[1])}"
            groups.setdefault(part, []).append(name)
    return groups
