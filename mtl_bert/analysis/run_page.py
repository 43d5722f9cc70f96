"""A page for every run: what happened in it, in words, figures and tables.

The sentences are those of ``templates/answers.txt.j2``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from mtl_bert.analysis import data_usage, numbers, paper
from mtl_bert.analysis.canvas import INK, POINTS, Look, draw, heat_map, lines_figure, series_looks
from mtl_bert.analysis.costs import phase_sums
from mtl_bert.analysis.data_usage import ALL, usage
from mtl_bert.analysis.document import (
    Answers,
    Block,
    Document,
    Figure,
    Section,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.fairness import single_of
from mtl_bert.analysis.gradient_conflicts import HOW, Joint, Layers, joint, pair_names, steps_alone
from mtl_bert.analysis.gradient_conflicts import layers as layers_of
from mtl_bert.analysis.numbers import percent
from mtl_bert.analysis.render import environment
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import (
    SCORE,
    Group,
    Study,
    Subject,
    file_name,
    phases_of,
    row_of,
    studies,
)
from mtl_bert.runs.results import PairConflict, PhaseRecord, Results

COSINE, SHARE = "mean cosine", "% of steps in conflict"
FOLDER = "runs"
_LONGEST = 120  # letters of a file's name
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
        return {epoch: each.conflicting for epoch, each in self.epochs.items()}

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


def addresses(runs: Sequence[Run]) -> dict[Path, str]:
    """Where each run's page lies in the report: by its directory."""
    found: dict[Path, str] = {}
    taken: set[str] = set()
    for run in sorted(runs, key=lambda run: (run.name, str(run.directory))):
        stem = file_name(run.name)[:_LONGEST]
        name, number = stem, 1
        while name.casefold() in taken:  # also where a file system does not tell a from A
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        found[run.directory] = f"{FOLDER}/{name}.html"
    return found


def run_pages(runs: Sequence[Run]) -> Iterator[Document]:
    """The page of every run, one after the other."""
    places = addresses(runs)
    for study in studies(runs):
        for run in (*study.runs, *study.superseded):
            yield run_page(study, run, places[run.directory])


def run_page(study: Study, run: Run, address: str) -> Document:
    """The page of one run."""
    results, tasks, found = run.results, study.tasks, Findings(study, run)
    sections = [Section("answers", "In words", (Answers(answers(found)),))]
    if results.epochs:
        sections += [
            Section("course", "Losses, dev metrics and time", (
                training_figure(results, tasks, study.subject), _phases_table(found),
            )),
            Section("conflicts", "What the tasks did to each other", _conflicts(found)),
            Section("layers", "In which parts of the encoder", (_layers(found),)),
            Section("ledger", "How much of the data was used", (
                data_usage.run_table(run, tasks, study.subject),
            )),
        ]  # fmt: skip
    lead = (
        f"{run.method.label}, seed {results.seed}, "
        f"{numbers.counted(run.epochs, 'epoch')}; {study.name}. "
        f"What the numbers are about: {study.subject.words}.",
        study.subject.warning,
    )
    return Document(run.name, tuple(filter(None, lead)), tuple(sections), address)


def _phases_table(found: Findings) -> Table:
    """Steps, examples and seconds of each phase, over all epochs."""
    total = sum(phase.seconds for phase in found.phases)
    records = [
        each
        | {
            "share": each["seconds"] / total if total else None,
            "cost": 1000 * each["seconds"] / each["examples"] if each["examples"] else None,
        }
        for each in phase_sums(found.results).reset_index().to_dict("records")
    ]
    validation = sum(epoch.validation_seconds for epoch in found.results.epochs)
    return table(
        "phases",
        "Time per phase",
        found.study.subject,
        (
            *words("phase"), *numeric(["steps", "examples"]),
            *numeric(["seconds"], "{:,.1f}".format), *numeric({"share": "of the time"}, percent),
            *numeric({"cost": "seconds per 1,000 examples"}, numbers.ratio),
        ),
        records,
        caption=f"Over all epochs, without validation, which took {validation:,.1f} s.",
    )  # fmt: skip


def _conflicts(found: Findings) -> tuple[Block, ...]:
    whole, tasks, subject = found.whole, found.study.tasks, found.study.subject
    if whole is None:
        return (Text(answer("conflict", found)),)
    pairs = [pair for pair in pair_names(tasks) if pair in whole.pairs]
    return (
        conflicts_figure(found.epochs, pairs, subject),
        parts_figure(found.epochs, tasks, subject),
        _epochs_table(found.study, found.epochs, pairs),
    )


def _epochs_table(study: Study, epochs: Mapping[int, Joint], pairs: Sequence[str]) -> Table:
    records = [
        {
            "epoch": str(epoch), "steps": each.steps, "conflicting": each.conflicting,
            **{f"{pair}_cosine": met.cosine for pair, met in each.pairs.items()},
            **{f"{pair}_conflicting": met.conflicting for pair, met in each.pairs.items()},
            "removed": each.removed, **{f"{task}_part": p for task, p in each.parts.items()},
        }
        for epoch, each in epochs.items()
    ]  # fmt: skip

    def named(ending: str, names: Sequence[str]) -> dict[str, str]:
        return {f"{name}_{ending}": name for name in names}

    return table(
        "epochs",
        "The joint steps of every epoch",
        study.subject,
        (
            *words("epoch"), *numeric({"steps": "joint steps"}),
            *numeric({"conflicting": "in conflict"}, percent),
            *numeric(named("cosine", pairs), numbers.metric, "mean cosine"),
            *numeric(named("conflicting", pairs), percent, "steps in conflict"),
            *numeric(["removed"], percent),
            *numeric(named("part", study.tasks), percent, "part of the update"),
        ),
        records,
        caption="Removed: by how much the update is shorter than the plain sum of the gradients.",
        folded=True,
    )  # fmt: skip


def _layers(found: Findings) -> Block:
    if not found.layers:
        return Text(answer("layers", found))
    names = pair_names(found.study.tasks)
    pairs = [name for name in names if any(name in each for each in found.layers.values())]
    return layers_figure(found.layers, pairs, found.study.subject)


def training_figure(results: Results, tasks: Sequence[str], subject: Subject) -> Figure:
    """Training loss and dev metrics of each epoch; at least one has been trained."""
    points: list[tuple[str, str, int, float]] = []
    for epoch in results.epochs:
        points += [("training loss", t, epoch.epoch, loss) for t, loss in epoch.losses.items()]
    scored = [epoch.scores for epoch in results.epochs]
    # The untrained model's are like theirs where all are of whole dev sets.
    for scores in (results.untrained if results.dev_sample is None else None, *scored):
        if scores is not None:
            values = {task: score.value for task, score in scores.tasks.items()}
            values[SCORE] = scores.score
            points += [("dev metrics and score", t, scores.epoch, v) for t, v in values.items()]
    whole, on = "", "Epoch 0 is the untrained model."
    if (sample := results.dev_sample) is not None:
        whole = ", on whole dev sets"
        on = f"Epochs were scored on at most {sample:,} examples of each dev set."
    ends = ", ".join(f"{task} {score.value:.3f}" for task, score in results.last.tasks.items())
    about = Figure(
        "course",
        "Losses and dev metrics",
        subject,
        f"Over {len(results.epochs)} epochs: each task's mean training loss and its dev metric. "
        f"After the last epoch{whole}: {ends}.",
        f"Losses are means over an epoch's examples. {on}",
    )
    looks = {**series_looks(tasks), SCORE: Look(INK, line=(0, (4, 2)))}
    return _lines(about, points, looks)


def conflicts_figure(found: Mapping[int, Joint], pairs: Sequence[str], subject: Subject) -> Figure:
    """Over the epochs: mean cosine and share of steps in conflict of each pair."""
    points = [
        (panel, pair, epoch, value)
        for epoch, each in found.items()
        for pair, met in each.pairs.items()
        for panel, value in ((COSINE, met.cosine), (SHARE, 100 * met.conflicting))
    ]
    about = Figure(
        "conflicts", "Conflicts over the epochs", subject,
        f"{COSINE} and {SHARE} of {', '.join(pairs)} over epochs {min(found)} to {max(found)}; "
        "the table below has the numbers.",
        HOW,
    )  # fmt: skip
    return _lines(about, points, series_looks(pairs))


def parts_figure(found: Mapping[int, Joint], tasks: Sequence[str], subject: Subject) -> Figure:
    """Over the epochs: each task's gradient, and its part in the update."""
    points = []
    for epoch, each in found.items():
        for task, own in each.tasks.items():
            values = (own.norm, 100 * each.parts[task], own.before, own.after)
            points += [(p, task, epoch, v) for p, v in zip(_PARTS, values, strict=True)]
    about = Figure(
        "parts", "Each task in the update", subject,
        f"Over epochs {min(found)} to {max(found)}, for {', '.join(tasks)}: the length of the "
        "gradient, the part of the update, and the cosine of the gradient with the plain sum of "
        "all and with the update.",
        "Joint steps only. Parts add up to 100 %; a task that pulls against the update has a "
        "negative one. Where a task's cosine with the update is above that with the plain sum of "
        "gradients, the update agrees more with the task than the sum would.",
    )  # fmt: skip
    return _lines(about, points, series_looks(tasks))


_PARTS = ("length of the gradient", "% of the update", "cosine with the sum", "cosine with update")


def _lines(
    about: Figure, points: Sequence[tuple[str, str, int, float]], looks: Mapping[str, Look]
) -> Figure:
    """Lines over epochs, for a run's page only."""
    frame = pd.DataFrame(points, columns=POINTS)
    panels = dict.fromkeys(frame["panel"].unique(), "")
    return lines_figure(about, frame, looks, panels, "epoch", files=False)


def layers_figure(
    found: Mapping[str, Mapping[str, PairConflict]], pairs: Sequence[str], subject: Subject
) -> Figure:
    """Parts of the encoder against pairs: mean cosine and share of steps in conflict."""
    names, columns = list(found), [pair.replace("/", "/\n") for pair in pairs]

    def frame(what: str) -> pd.DataFrame:
        nothing = PairConflict.model_construct(cosine=np.nan, conflicting=np.nan)
        rows = [[getattr(met.get(p, nothing), what) for p in pairs] for met in found.values()]
        return pd.DataFrame(rows, names, columns)

    cosines = frame("cosine")
    end = max(0.05, float(np.nanmax(np.abs(cosines))))  # weaker cosines are near nothing

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, sharey=True)
        heat_map(left, cosines, "RdBu", -end, end)
        heat_map(right, 100 * frame("conflicting"), "Oranges", 0, 100, digits=0)
        left.set_title(COSINE)
        right.set_title(SHARE)

    about = Figure(
        "layers", "Conflicts by part of the encoder", subject,
        f"Heat maps of {numbers.counted(len(names), 'part')} ({names[0]} to {names[-1]}) against "
        f"{', '.join(pairs)}: {COSINE} and {SHARE}.",
        "Over all epochs, in the steps that were looked at. Red: gradients point against each "
        f"other on average; blue: the same way. {HOW}",
    )  # fmt: skip
    return draw(about, paint, 0.9 + 0.23 * max(3, len(names)), files=False)
