"""What tasks did to each other in a run, put together over phases and epochs.

A step is joint where several tasks are represented in it. Means are over steps, so that a phase or
an epoch counts by its length.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mtl_bert.runs.results import Influence, PairConflict, PhaseRecord

Layers = dict[str, dict[str, PairConflict]]
"""Part of the encoder -> pair."""


@dataclass(frozen=True)
class Joint:
    """The joint steps of some phases.

    Attributes:
        steps: how many.
        conflicting: share of them in which some pair's gradients pointed against each other.
        removed: see :class:`~mtl_bert.runs.results.Conflicts`.
        pairs: those that met, in the order of the tasks.
        tasks: those that took part, in order; means over the steps that had them.
        parts: of the update, over all steps; a task counts 0 where it is absent. They add up to 1.
    """

    steps: int
    conflicting: float
    removed: float
    pairs: Mapping[str, PairConflict]
    tasks: Mapping[str, Influence]
    parts: Mapping[str, float]

    @property
    def sharpest(self) -> str:
        """The pair that conflicts most often; of equals that with the lowest cosine."""
        return min(self.pairs, key=lambda p: (-self.pairs[p].conflicting, self.pairs[p].cosine))


def pair_names(tasks: Sequence[str]) -> tuple[str, ...]:
    """All pairs, as records key them."""
    return tuple(f"{a}/{b}" for a, b in combinations(tasks, 2))


def joint(phases: Iterable[PhaseRecord], tasks: Sequence[str]) -> Joint | None:
    """The joint steps of phases; None where none is recorded."""
    found = [phase.conflicts for phase in phases if phase.conflicts and phase.conflicts.pairs]
    if not found:
        return None
    pairs = _pooled_pairs([conflicts.pairs for conflicts in found], tasks)
    if not pairs:
        return None
    weights = [conflicts.several for conflicts in found]
    influences = {
        task: [c.tasks[task] for c in found if task in c.tasks and c.tasks[task].steps]
        for task in tasks
    }
    steps = sum(conflicts.steps for conflicts in found)
    return Joint(
        sum(weights),
        _mean([c.conflicting for c in found], weights),
        _mean([c.removed for c in found], weights),
        pairs,
        {task: _pooled_influence(parts) for task, parts in influences.items() if parts},
        {
            task: sum(part.share * part.steps for part in parts) / steps
            for task, parts in influences.items()
            if parts
        },
    )


def layers(phases: Iterable[PhaseRecord], tasks: Sequence[str]) -> Layers:
    """Each part of the encoder, over phases; empty where nothing is recorded."""
    phases = list(phases)
    names = dict.fromkeys(name for phase in phases for name in phase.layers)
    found = {
        name: _pooled_pairs([p.layers[name] for p in phases if name in p.layers], tasks)
        for name in names
    }
    return {name: pairs for name, pairs in found.items() if pairs}


def steps_alone(phases: Iterable[PhaseRecord]) -> dict[str, int]:
    """Steps that had one task only: task -> how many, of phases without joint steps."""
    steps: dict[str, int] = {}
    for phase in phases:
        if phase.conflicts and not phase.conflicts.pairs:
            for task, part in phase.conflicts.tasks.items():
                steps[task] = steps.get(task, 0) + part.steps
    return steps


def recorded(phases: Iterable[PhaseRecord]) -> bool:
    """Whether anything is known: older versions looked at no gradients."""
    return any(phase.conflicts is not None for phase in phases)


def _pooled_pairs(
    found: Sequence[Mapping[str, PairConflict]], tasks: Sequence[str]
) -> dict[str, PairConflict]:
    """Pairs by the tasks' order, whatever order the run had."""
    pooled = {}
    for a, b in combinations(tasks, 2):
        names = (f"{a}/{b}", f"{b}/{a}")
        met = [each[name] for each in found for name in names if name in each and each[name].steps]
        if met:
            steps = [pair.steps for pair in met]
            pooled[names[0]] = PairConflict(
                steps=sum(steps),
                cosine=_mean([pair.cosine for pair in met], steps),
                conflicting=_mean([pair.conflicting for pair in met], steps),
            )
    return pooled


def _pooled_influence(found: Sequence[Influence]) -> Influence:
    steps = [part.steps for part in found]
    return Influence(
        steps=sum(steps),
        norm=_mean([part.norm for part in found], steps),
        share=_mean([part.share for part in found], steps),
        before=_mean([part.before for part in found], steps),
        after=_mean([part.after for part in found], steps),
    )


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
