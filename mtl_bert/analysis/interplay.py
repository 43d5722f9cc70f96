"""What the tasks do to each other, method beside method.

Shapes: S seeds of a method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtl_bert.analysis import numbers
from mtl_bert.analysis.conflicts import Joint, joint, pair_names
from mtl_bert.analysis.document import Block, Cell, Column, Record, Table, Text
from mtl_bert.analysis.figures.interplay import HOW, methods_figure
from mtl_bert.analysis.statistics import Floats, spread
from mtl_bert.analysis.studies import Group, Study
from mtl_bert.runs.results import PairConflict

NONE = (
    "Nothing can be said: no run of this setting has recorded what its tasks' gradients did to "
    "each other. Runs of older versions have not, and in single-task steps there is only one."
)


@dataclass(frozen=True, eq=False)
class Interplay:
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
        met = [seed.pairs[name] for seed in self.seeds if name in seed.pairs]
        return np.array([of(pair) for pair in met]) if met and len(met) == len(self.seeds) else None

    def part(self, task: str) -> Floats | None:
        """A task's part of the update: [S]."""
        return self.values(lambda seed: seed.parts.get(task, 0.0))


def interplays(study: Study) -> list[Interplay]:
    """Every trained method's."""
    found = []
    for group in study.compared:
        phases = [[p for e in run.results.epochs for p in e.phases] for run in group.runs]
        seeds = (joint(each, study.tasks) for each in phases)
        found.append(Interplay(group, tuple(seed for seed in seeds if seed is not None)))
    return found


def blocks(study: Study) -> list[Block]:
    """The table and the figure; or that nothing is known."""
    found = interplays(study)
    if not any(method.seeds for method in found):
        return [Text(NONE)]
    pairs = [
        name
        for name in pair_names(study.tasks)
        if any(name in seed.pairs for method in found for seed in method.seeds)
    ]
    drawn = {
        method.group.method.brief(): {pair: _mean(method, pair) for pair in pairs}
        for method in found
        if method.seeds
    }
    shown = {
        label: {pair: mean for pair, mean in means.items() if mean is not None}
        for label, means in drawn.items()
    }
    figure = methods_figure(f"{study.slug}-pairs", shown, pairs, study.subject)
    return [_table(study, found, pairs), figure]


def _mean(method: Interplay, pair: str) -> PairConflict | None:
    """A pair's means over seeds."""
    cosines = method.pair(pair, lambda p: p.cosine)
    shares = method.pair(pair, lambda p: p.conflicting)
    if cosines is None or shares is None:
        return None
    steps = sum(seed.pairs[pair].steps for seed in method.seeds)
    return PairConflict(steps=steps, cosine=float(cosines.mean()), conflicting=float(shares.mean()))


def _table(study: Study, found: list[Interplay], pairs: list[str]) -> Table:
    cells = []
    for method in found:
        shares = method.values(lambda seed: seed.conflicting)
        removed = method.values(lambda seed: seed.removed)
        texts = [
            _percent(shares),
            *(_cosine(method.pair(pair, lambda p: p.cosine)) for pair in pairs),
            _percent(removed), *_largest(study, method), str(len(method.seeds)),
        ]  # fmt: skip
        cells.append((Cell(method.group.label), *(Cell(text) for text in texts)))
    return Table(
        name=f"{study.slug}-conflicts",
        heading="What the tasks do to each other in joint steps",
        subject=study.subject,
        columns=(
            Column("method", numeric=False), Column("steps in conflict"),
            *(Column(pair, "mean cosine") for pair in pairs), Column("removed"),
            Column("task", "largest part of the update", numeric=False),
            Column("part", "largest part of the update"), Column("n"),
        ),
        rows=tuple(cells),
        caption=(
            "Means over the n seeds that recorded joint steps; – where a method has none. In "
            "conflict: some pair's gradients have a negative cosine. Removed: by how much the "
            f"update is shorter than the plain sum of the gradients. {HOW}"
        ),
        records=tuple(_record(study, method, pairs) for method in found),
    )  # fmt: skip


def _largest(study: Study, method: Interplay) -> tuple[str, str]:
    parts = {task: values for task in study.tasks if (values := method.part(task)) is not None}
    if not parts:
        return numbers.MISSING, numbers.MISSING
    task = max(parts, key=lambda name: float(parts[name].mean()))
    return task, numbers.percent_with_spread(parts[task])


def _percent(values: Floats | None) -> str:
    return numbers.MISSING if values is None else numbers.percent_with_spread(values)


def _cosine(values: Floats | None) -> str:
    return numbers.MISSING if values is None else numbers.with_spread(values)


def _record(study: Study, method: Interplay, pairs: list[str]) -> Record:
    columns = {
        "conflicting": method.values(lambda seed: seed.conflicting),
        "removed": method.values(lambda seed: seed.removed),
        **{f"{pair}_cosine": method.pair(pair, lambda p: p.cosine) for pair in pairs},
        **{f"{pair}_conflicting": method.pair(pair, lambda p: p.conflicting) for pair in pairs},
        **{f"{task}_part": method.part(task) for task in study.tasks},
    }
    record: dict[str, str | int | float | None] = {"method": method.group.label}
    for name, values in columns.items():
        record[name] = None if values is None else float(values.mean())
        record[f"{name}_sd"] = None if values is None else spread(values)
    return {**record, "n": len(method.seeds), "subject": study.subject.words}
