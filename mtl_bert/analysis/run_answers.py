"""What people ask of a run, answered in words; the sentences are ``templates/answers.txt.j2``."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.data_usage import ALL, usage
from mtl_bert.analysis.fairness import single_of
from mtl_bert.analysis.gradient_conflicts import Joint, Layers, joint, steps_alone
from mtl_bert.analysis.gradient_conflicts import layers as layers_of
from mtl_bert.analysis.render import environment
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, phases_of, row_of
from mtl_bert.runs.results import PairConflict, PhaseRecord, Results

QUESTIONS = {
    "conflict": "Do the tasks conflict?",
    "when": "When?",
    "layers": "In which parts of the encoder?",
    "dominance": "Who dominates the update?",
    "change": "What did the method change?",
    "use": "How much of the data was used?",
    "worth": "Was it worth the time?",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """What the answers are made of: a run, and the setting that it belongs to."""

    study: Study
    run: Run

    @property
    def results(self) -> Results:
        """The run's."""
        return self.run.results

    @cached_property
    def phases(self) -> list[PhaseRecord]:
        """Of all epochs."""
        return phases_of(self.results)

    @cached_property
    def whole(self) -> Joint | None:
        """The run's joint steps, if there are any."""
        return joint(self.phases, self.study.tasks)

    @cached_property
    def epochs(self) -> dict[int, Joint]:
        """Those of each epoch that had some."""
        each = {epoch.epoch: joint(epoch.phases, self.study.tasks) for epoch in self.results.epochs}
        return {epoch: steps for epoch, steps in each.items() if steps is not None}

    @property
    def shares(self) -> dict[int, float]:
        """Epoch -> share of its joint steps that were in conflict."""
        return {epoch: joint.conflicting for epoch, joint in self.epochs.items()}

    @property
    def alone(self) -> dict[str, int]:
        """Steps that had one task only: task -> how many."""
        return steps_alone(self.phases)

    @cached_property
    def layers(self) -> Layers:
        """Parts of the encoder, over all epochs."""
        return layers_of(self.phases, self.study.tasks)

    @property
    def fields(self) -> list[tuple[str, str, PairConflict]]:
        """The same: part, pair and its numbers."""
        return [(part, name, p) for part, pairs in self.layers.items() for name, p in pairs.items()]

    @property
    def used(self) -> list[dict[Any, Any]]:
        """What was used of each task's data over all epochs."""
        found = usage(self.results, self.study.tasks)
        return found[found["epoch"] == ALL].to_dict("records")

    @property
    def rival(self) -> tuple[str, Group] | None:
        """Round-robin, or else the single-task models, as long trained, if it is not one itself."""
        groups = [g for g in self.study.groups if g.trained and g.epochs == self.run.epochs]
        for name, other in (
            ("Round-robin", row_of(groups, paper.row(2, "rr"))),
            ("One encoder per task", single_of(self.study)),
        ):
            if other in groups and self.run not in other.runs:
                return name, other
        return None


@cache
def _sentences() -> Any:
    plain = environment(autoescape=False)
    for name in ("percent", "metric", "change", "minutes", "ratio", "count", "counted"):
        plain.filters[name] = getattr(numbers, name)
    return plain.get_template("answers.txt.j2").module


def answer(name: str, *findings: Findings) -> str:
    """The answer to one of :data:`QUESTIONS`."""
    return " ".join(getattr(_sentences(), name)(*findings).split())


def answers(found: Findings) -> tuple[tuple[str, str], ...]:
    """Each question with its answer."""
    if not found.results.epochs:
        return (("What happened?", "Nothing was trained."),)
    return tuple((question, answer(name, found)) for name, question in QUESTIONS.items())
