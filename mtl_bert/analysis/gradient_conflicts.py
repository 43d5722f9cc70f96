"""What tasks' gradients did to each other in a run, and method beside method.

A step is joint where several tasks are represented in it. Means are over steps, so that a phase or
an epoch counts by its length. Shapes: S seeds of a method.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Block, Text, numeric, table, words
from mtl_bert.analysis.figures.heat_maps import HOW, methods_figure
from mtl_bert.analysis.numbers import Floats, over_seeds, summary
from mtl_bert.analysis.studies import Group, Study, phases_of
from mtl_bert.runs.results import Influence, PairConflict, PhaseRecord

NONE = (
    "Nothing can be said: in single-task steps there is only one gradient, and no run of this "
    "setting has other ones."
)
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
    """The joint steps of phases; None where there are none."""
    found = [phase.conflicts for phase in phases if phase.conflicts and phase.conflicts.pairs]
    pairs = _pooled_pairs([conflicts.pairs for conflicts in found], tasks)
    if not pairs:
        return None
    weights = [conflicts.several for conflicts in found]
    met = {
        task: [c.tasks[task] for c in found if task in c.tasks and c.tasks[task].steps]
        for task in tasks
    }
    influences = {task: _pooled(parts) for task, parts in met.items() if parts}
    steps = sum(conflicts.steps for conflicts in found)
    return Joint(
        sum(weights),
        _mean([c.conflicting for c in found], weights),
        _mean([c.removed for c in found], weights),
        pairs,
        influences,
        {task: sum(p.share * p.steps for p in met[task]) / steps for task in influences},
    )


def layers(phases: Sequence[PhaseRecord], tasks: Sequence[str]) -> Layers:
    """Each part of the encoder, over phases; empty where nothing is recorded."""
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


_Record = TypeVar("_Record", PairConflict, Influence)


def _pooled_pairs(
    found: Sequence[Mapping[str, PairConflict]], tasks: Sequence[str]
) -> dict[str, PairConflict]:
    """Pairs by the tasks' order, whatever order the run had."""
    pooled = {}
    for a, b in combinations(tasks, 2):
        names = (f"{a}/{b}", f"{b}/{a}")
        met = [each[name] for each in found for name in names if name in each and each[name].steps]
        if met:
            pooled[names[0]] = _pooled(met)
    return pooled


def _pooled(found: Sequence[_Record]) -> _Record:
    """All numbers' means over the records' steps."""
    steps = [record.steps for record in found]
    columns = [name for name in type(found[0]).model_fields if name != "steps"]
    means = {name: _mean([getattr(record, name) for record in found], steps) for name in columns}
    return type(found[0]).model_validate({"steps": sum(steps), **means})


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


@dataclass(frozen=True, eq=False)
class MethodConflicts:
    """The joint steps of a method, of those seeds that recorded some.

    Attributes:
        group: the method.
        seeds: one for each of these runs.
    """

    group: Group
    seeds: tuple[Joint, ...]

    def values(self, of: Callable[[Joint], float]) -> Floats | None:
        """A number of each seed: [S]; None without any."""
        return np.array([of(seed) for seed in self.seeds]) if self.seeds else None

    def pair(self, name: str, of: Callable[[PairConflict], float]) -> Floats | None:
        """A number of a pair: [S]; None where it did not meet in every seed."""
        if not all(name in seed.pairs for seed in self.seeds):
            return None
        return self.values(lambda seed: of(seed.pairs[name]))

    def part(self, task: str) -> Floats | None:
        """A task's part of the update: [S]."""
        return self.values(lambda seed: seed.parts.get(task, 0.0))


def conflicts_of(study: Study) -> list[MethodConflicts]:
    """Every trained method's."""
    found = []
    for group in study.compared:
        seeds = (joint(phases_of(run.results), study.tasks) for run in group.runs)
        found.append(MethodConflicts(group, tuple(seed for seed in seeds if seed is not None)))
    return found


def blocks(study: Study) -> list[Block]:
    """The table and the figure; or that nothing is known."""
    found = conflicts_of(study)
    if not any(method.seeds for method in found):
        return [Text(NONE)]
    pairs = [
        name
        for name in pair_names(study.tasks)
        if any(name in seed.pairs for method in found for seed in method.seeds)
    ]
    rows, records, maps = [], [], {}
    for method in found:
        cosines = {pair: method.pair(pair, lambda p: p.cosine) for pair in pairs}
        shares = {pair: method.pair(pair, lambda p: p.conflicting) for pair in pairs}
        parts = {task: method.part(task) for task in study.tasks}
        conflicting = method.values(lambda seed: seed.conflicting)
        removed = method.values(lambda seed: seed.removed)
        largest = max(parts, key=lambda task: -np.inf if (p := parts[task]) is None else p.mean())
        rows.append((
            method.group.label, over_seeds(conflicting, numbers.percent),
            *map(over_seeds, cosines.values()), over_seeds(removed, numbers.percent),
            largest if method.seeds else numbers.MISSING,
            over_seeds(parts[largest], numbers.percent), str(len(method.seeds)),
        ))  # fmt: skip
        columns = {"conflicting": conflicting, "removed": removed}
        columns |= {f"{pair}_cosine": values for pair, values in cosines.items()}
        columns |= {f"{pair}_conflicting": values for pair, values in shares.items()}
        columns |= {f"{task}_part": values for task, values in parts.items()}
        means = {k: v for name, x in columns.items() for k, v in summary(name, x).items()}
        records.append({"method": method.group.label, **means, "n": len(method.seeds)})
        if method.seeds:
            both = (cosines.values(), shares.values())
            maps[method.group.method.brief()] = [
                [np.nan if x is None else float(x.mean()) for x in each] for each in both
            ]
    conflicts = table(
        f"{study.slug}-conflicts",
        "What the tasks do to each other in joint steps",
        study.subject,
        (
            *words("method"), *numeric("steps in conflict"), *numeric(*pairs, group="mean cosine"),
            *numeric("removed"), *words("task", group="largest part of the update"),
            *numeric("part", group="largest part of the update"), *numeric("n"),
        ),
        rows,
        caption=(
            "Means over the n seeds that recorded joint steps; – where a method has none. In "
            "conflict: some pair's gradients have a negative cosine. Removed: by how much the "
            f"update is shorter than the plain sum of the gradients. {HOW}"
        ),
        records=records,
    )  # fmt: skip
    return [conflicts, methods_figure(f"{study.slug}-pairs", maps, pairs, study.subject)]
