"""What tasks' gradients did to each other in a run, and method beside method.

A step is joint where several tasks are represented in it. Means are over steps, so that a phase or
an epoch counts by its length. Shapes: S seeds of a method.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Block, Column, Record, Text, numeric, table, words
from mtl_bert.analysis.studies import Group, Study, phases_of
from mtl_bert.runs.results import Influence, PairConflict, PhaseRecord

NONE = (
    "Nothing can be said: in single-task steps there is only one gradient, and no run of this "
    "setting has other ones."
)
HOW = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
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
    steps: Counter[str] = Counter()
    for phase in phases:
        if phase.conflicts and not phase.conflicts.pairs:
            steps.update({task: part.steps for task, part in phase.conflicts.tasks.items()})
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


def method_record(group: Group, tasks: Sequence[str]) -> Record:
    """A method's joint steps, over those seeds that recorded some, and how many these are.

    A number is None where there is none, or where a pair did not meet in every seed.
    """
    found = [joint(phases_of(run.results), tasks) for run in group.runs]
    seeds = [seed for seed in found if seed is not None]
    met = {
        pair: [seed.pairs[pair] for seed in seeds]
        for pair in pair_names(tasks)
        if seeds and all(pair in seed.pairs for seed in seeds)
    }
    record: Record = {"conflicting": None, "removed": None}
    if seeds:
        record = {name: np.array([getattr(seed, name) for seed in seeds]) for name in record}
    for pair, own in met.items():
        record[f"{pair}_cosine"] = np.array([each.cosine for each in own])
        record[f"{pair}_conflicting"] = np.array([each.conflicting for each in own])
    parts = {task: np.array([s.parts.get(task, 0.0) for s in seeds]) for task in tasks if seeds}
    record |= {f"{task}_part": values for task, values in parts.items()}
    if parts:
        largest = max(parts, key=lambda task: parts[task].mean())
        record |= {"_largest": largest, "_part": parts[largest]}
    return {"method": group.label, **record, "n": len(seeds)}


def blocks(study: Study) -> list[Block]:
    """The table; or that nothing is known."""
    records = [method_record(group, study.tasks) for group in study.compared]
    if not any(record["n"] for record in records):
        return [Text(NONE)]
    cosines = {
        f"{pair}_cosine": pair for pair in pair_names(study.tasks)
        if any(f"{pair}_cosine" in record for record in records)
    }  # fmt: skip
    most = "largest part of the update"
    conflicts = table(
        f"{study.slug}-conflicts",
        "What the tasks do to each other in joint steps",
        study.subject,
        (
            *words("method"), *numeric({"conflicting": "steps in conflict"}, numbers.percent),
            *numeric(cosines, numbers.metric, "mean cosine"),
            *numeric(["removed"], numbers.percent),
            Column("task", most, numeric=False, key="_largest"),
            *numeric({"_part": "part"}, numbers.percent, most), *numeric(["n"]),
        ),
        records,
        caption=(
            "Means over the n seeds that recorded joint steps; – where a method has none. In "
            "conflict: some pair's gradients have a negative cosine. Removed: by how much the "
            f"update is shorter than the plain sum of the gradients. {HOW}"
        ),
    )  # fmt: skip
    return [conflicts]
