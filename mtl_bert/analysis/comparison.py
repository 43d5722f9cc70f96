"""Differences between methods of a study, and whether they are real.

Shapes: S seeds of a method, N dev examples, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import final

import numpy as np
import pandas as pd

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Points,
    Record,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.numbers import Floats
from mtl_bert.analysis.old_statistics import (
    LEVEL,
    METRICS,
    RESAMPLES,
    SEED,
    Interval,
    bootstrap,
    percentile_interval,
    seed_interval,
)
from mtl_bert.analysis.run_files import UnusableError
from mtl_bert.analysis.studies import SCORE, Group, Study

RULE = (
    "A difference is called real only where both 95 % intervals exclude 0 on the same side: that "
    "over resampled dev examples (paired percentile bootstrap) and that over common seeds (paired "
    "Student's t). With one common seed it cannot be said."
)
REAL_MORE, REAL_LESS, NOT_SHOWN = "real, higher", "real, lower", "not shown"
_SIGNS = {1: "▲", -1: "▼", 0: "○"}
TOLERANCE = 2e-6  # between a recorded metric and the one of its prediction file


@final
@dataclass(frozen=True)
class Difference:
    """One method minus another in a task's metric or the score.

    Attributes:
        mean: of the methods' means over their common seeds, or all where there are none.
        examples: over resampled dev examples; None where that is not possible.
        seeds: over common seeds; None for fewer than two.
        common: common seeds.
    """

    mean: float
    examples: Interval | None
    seeds: Interval | None
    common: int

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is real, else 0."""
        if self.examples is None or self.seeds is None or self.examples.sign != self.seeds.sign:
            return 0
        return self.examples.sign

    @property
    def verdict(self) -> str:
        """In words."""
        if why := self.unknown:
            return f"{why}: cannot say"
        return {1: REAL_MORE, -1: REAL_LESS, 0: NOT_SHOWN}[self.sign]

    @property
    def unknown(self) -> str:
        """Why there is no verdict; nothing if there is one."""
        if self.seeds is None:
            return "one seed" if self.common == 1 else "no common seed"
        return "no interval over dev examples" if self.examples is None else ""

    def __str__(self) -> str:
        """The difference with its intervals."""
        examples = f"dev examples {self.examples}" if self.examples else "dev examples: no interval"
        seeds = f"{self.common} seeds {self.seeds}" if self.seeds else f"n={self.common} seeds"
        return f"{numbers.change(self.mean)} ({examples}; {seeds})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A study's methods side by side.

    Attributes:
        groups: the methods.
        resampled: task or score -> method's place in ``groups`` -> its seeds' values [S, R].
        excluded: for readers: what could not be resampled, and why.
    """

    groups: Sequence[Group]
    resampled: Mapping[str, Mapping[int, Floats]]
    excluded: tuple[str, ...]

    def difference(self, first: Group, second: Group, what: str = SCORE) -> Difference:
        """First minus second."""
        common = sorted({*first.seeds} & {*second.seeds})
        values = [[g.at(seed, what) for seed in common] for g in (first, second)]
        seeds = seed_interval(*values)
        mean = first.mean(what) - second.mean(what)
        if seeds is not None:
            mean = float(np.mean(values[0]) - np.mean(values[1]))
        examples = self._over_examples((first, second), what, common)
        return Difference(mean, examples, seeds, len(common))

    def _over_examples(
        self, pair: tuple[Group, Group], what: str, common: list[int]
    ) -> Interval | None:
        """The difference on resamples, averaged over common seeds, or all where there are none."""
        known = self.resampled.get(what, {})
        means = []
        for group in pair:
            place = self.groups.index(group)
            if place not in known:
                return None
            rows = [group.seeds.index(seed) for seed in common] or list(range(group.n))
            means.append(known[place][rows].mean(0))
        return percentile_interval(means[0] - means[1])

    def pairs(self) -> list[tuple[Group, Group]]:
        """All pairs, each once."""
        return list(combinations(self.groups, 2))


def compare(study: Study, groups: Sequence[Group]) -> Comparison:
    """Resample the dev sets for all methods of a study at once."""
    resampled: dict[str, dict[int, Floats]] = {}
    excluded: list[str] = []
    for stream, task in enumerate(study.tasks):
        metric = study.metrics[task]
        if metric not in METRICS:
            excluded.append(f"{task}: {metric} cannot be computed here, so there is no bootstrap")
            resampled[task] = {}
            continue
        usable = _usable(groups, task, metric, excluded)
        resampled[task] = _resample(usable, metric, stream)
    resampled[SCORE] = _score(study, resampled)
    return Comparison(groups, resampled, tuple(excluded))


def _usable(
    groups: Sequence[Group], task: str, metric: str, excluded: list[str]
) -> dict[int, list[pd.DataFrame]]:
    """The methods whose prediction files can be resampled together."""
    usable: dict[int, list[pd.DataFrame]] = {}
    standard: pd.DataFrame | None = None
    for place, group in enumerate(groups):
        files: list[pd.DataFrame] = []
        try:
            for run in group.runs:
                found = run.predictions(task)
                recorded = run.results.tasks[task].value
                columns = (found[name].to_numpy(float) for name in ("label", "prediction"))
                value = float(METRICS[metric](*columns))
                if not abs(value - recorded) <= TOLERANCE:
                    raise UnusableError(
                        f"{run.name}: {metric} of the file is {value:.4f}, recorded {recorded:.4f}"
                    )
                if len(found) < 2:
                    raise UnusableError("too few dev examples")
                standard = found if standard is None else standard
                if not found[["id", "label"]].equals(standard[["id", "label"]]):
                    raise UnusableError(f"{run.name}: another dev set than the other methods'")
                files.append(found)
        except UnusableError as error:
            excluded.append(f"{group.label} is left out of the bootstrap of {task}: {error}")
        else:
            usable[place] = files
    return usable


def _resample(
    usable: Mapping[int, Sequence[pd.DataFrame]], metric: str, stream: int
) -> dict[int, Floats]:
    """The metric of each method's seeds on the same resamples: [S, R] each."""
    models = [found for files in usable.values() for found in files]
    if not models:
        return {}
    predictions = np.stack([found["prediction"] for found in models])
    drawn = bootstrap(metric, models[0]["label"].to_numpy(float), predictions, stream)
    ends = np.cumsum([len(files) for files in usable.values()])[:-1]
    return dict(zip(usable, np.split(drawn, ends), strict=True))


def _score(study: Study, resampled: Mapping[str, Mapping[int, Floats]]) -> dict[int, Floats]:
    """The score on independent resamples of each task: metrics mapped to 0..1, their mean."""
    places = set.intersection(*(set(methods) for methods in resampled.values()))
    total = {}
    for place in places:
        units = [study.unit(task, methods[place]) for task, methods in resampled.items()]
        total[place] = np.mean(units, axis=0)
    return total


def blocks(study: Study, comparison: Comparison) -> list[Block]:
    """The rule, the matrix of the score and the table of all pairs."""
    pairs = comparison.pairs()
    if not pairs:
        return [Text("One method alone has nothing to differ from.")]
    how = (
        f"{RESAMPLES:,} resamples of each dev set, the same for all methods, drawn independently "
        f"for each task, averaged over the seeds that both have; level {LEVEL:.0%}; random numbers "
        f"from {SEED}. With {len(pairs)} pairs and no correction for their number, some "
        f"differences exclude 0 by chance alone."
    )
    found: list[Block] = [Text(RULE), Text(how)]
    if comparison.excluded:
        found += [Text("Without a bootstrap:"), Points(comparison.excluded)]
    return [*found, _matrix(study, comparison), _pairs(study, comparison, pairs)]


def _matrix(study: Study, comparison: Comparison) -> Table:
    records = []
    for first in comparison.groups:
        record: Record = {"method": first.label}
        for other in comparison.groups:
            d = None if first is other else comparison.difference(first, other)
            record |= {
                other.label: d and d.mean,
                f"_{other.label}": Cell("") if d is None else _field(d),
            }
        records.append(record)
    return table(
        f"{study.slug}-differences-matrix",
        "Differences of the score: row minus column",
        study.subject,
        (*words("method"), *numeric({f"_{g.label}": g.label for g in comparison.groups})),
        records,
        caption=(
            "▲ real, row higher; ▼ real, row lower; ○ not shown to be real; ? cannot be said "
            "(one seed in common, or no predictions). Bold: real."
        ),
    )


def _field(difference: Difference) -> Cell:
    mark = "?" if difference.unknown else _SIGNS[difference.sign]
    return Cell(f"{numbers.change(difference.mean)} {mark}", bold=difference.sign != 0)


def _pairs(study: Study, comparison: Comparison, pairs: list[tuple[Group, Group]]) -> Table:
    records = []
    for (a, b), what in product(pairs, (SCORE, *study.tasks)):
        d = comparison.difference(a, b, what)
        records.append({
            "method": a.label, "minus": b.label, "in": what, "difference": d.mean,
            "examples_low": d.examples and d.examples.low,
            "examples_high": d.examples and d.examples.high,
            "seeds_low": d.seeds and d.seeds.low, "seeds_high": d.seeds and d.seeds.high,
            "common_seeds": d.common, "verdict": Cell(d.verdict, bold=d.sign != 0),
            "_examples": d.examples and str(d.examples), "_seeds": d.seeds and str(d.seeds),
        })  # fmt: skip
    return table(
        f"{study.slug}-differences",
        "Every pair of methods, in the score and in each task",
        study.subject,
        (
            *words("method", "minus", "in"), *numeric(["difference"], numbers.change),
            *numeric({"_examples": "dev examples", "_seeds": "seeds"}, group="95 % interval over"),
            *numeric({"common_seeds": "common seeds"}), *words("verdict"),
        ),
        records,
        caption=(
            "Task rows are differences of the metric itself; the score maps each metric to 0..1. "
            f"{study.subject.warning}"
        ).strip(),
        folded=True,
    )  # fmt: skip
