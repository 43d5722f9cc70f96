"""Runs, studies and comparisons in memory, for tests that need no files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtl_bert.analysis.comparison import Comparison, Difference
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.old_statistics import Interval
from mtl_bert.analysis.studies import SCORE, Group, Study, studies
from mtl_bert.runs.results import TaskScore
from tests.analysis.factory import METRICS, Made, results_of

NOWHERE = Path("nowhere")


def run_of(made: Made, name: str = "run") -> Run:
    """A run whose metrics are exactly those wanted."""
    tasks = {
        task: TaskScore(metric=METRICS[task], value=made.accuracies[task], n=n)
        for task, n in made.dev.items()
    }
    return Run(NOWHERE / name, name, results_of(made, tasks))


def study_of(*made: Made, **changes: Any) -> Study:
    """The only study of some runs."""
    runs = [run_of(replace(m, **changes), f"run{n}") for n, m in enumerate(made)]
    (study,) = studies(runs)
    return study


def seeds(made: Made, values: Sequence[Mapping[str, float]] | int = 3) -> list[Made]:
    """Repetitions: the same, or with the given metrics of each seed."""
    if isinstance(values, int):
        values = [made.accuracies] * values
    return [
        replace(made, seed=seed, accuracies={**made.accuracies, **accuracies})
        for seed, accuracies in enumerate(values, start=1)
    ]


def interval(mean: float, half: float) -> Interval:
    return Interval(mean - half, mean + half)


class Told(Comparison):
    """A comparison that says what a test tells it to.

    ``means[(label, label, what)]`` is a difference with intervals of ``half`` on each side; the
    reverse follows from it, and what is not told is 0.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        means: Mapping[tuple[str, str, str], float],
        half: float = 0.002,
        common: int = 3,
    ) -> None:
        super().__init__(groups, {}, ())
        self.told = means, half, common

    def difference(self, first: Group, second: Group, what: str = SCORE) -> Difference:
        means, half, common = self.told
        a, b = first.label, second.label
        mean = means.get((a, b, what), -means.get((b, a, what), 0.0))
        around = interval(mean, half)
        return Difference(mean, around, around if common > 1 else None, common)
