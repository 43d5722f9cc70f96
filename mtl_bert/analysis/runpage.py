"""A page for every run: what happened in it, in words, figures and tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtl_bert.analysis import ledger, numbers
from mtl_bert.analysis.conflicts import Joint, joint, layers, pair_names
from mtl_bert.analysis.document import (
    Answers,
    Block,
    Cell,
    Column,
    Document,
    Section,
    Table,
    Text,
)
from mtl_bert.analysis.figures import course, interplay
from mtl_bert.analysis.methods import method_of
from mtl_bert.analysis.questions import Findings, absence, answers
from mtl_bert.analysis.questions import layers as layers_in_words
from mtl_bert.analysis.runs import Run
from mtl_bert.analysis.studies import Study, file_name, studies
from mtl_bert.runs.results import PhaseRecord

FOLDER = "runs"
_LONGEST = 120  # letters of a file's name


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
    results, tasks, found = run.results, study.tasks, findings(study, run)
    phases = [phase for epoch in results.epochs for phase in epoch.phases]
    sections = [Section("answers", "In words", (Answers(answers(found)),))]
    if results.epochs:
        sections += [
            Section("course", "Losses, dev metrics and time", (
                course.course_figure(results, tasks, study.subject), _phases_table(study, phases),
            )),
            Section("conflicts", "What the tasks did to each other", _conflicts(found)),
            Section("layers", "In which parts of the encoder", _layers(found)),
            Section("ledger", "How much of the data was used", (
                ledger.run_table(run, tasks, study.subject),
            )),
        ]  # fmt: skip
    lead = (
        f"{method_of(run).label}, seed {results.seed}, "
        f"{numbers.counted(run.config['epochs'], 'epoch')}; {study.name}. "
        f"What the numbers are about: {study.subject.words}.",
        study.subject.warning,
    )
    return Document(run.name, tuple(words for words in lead if words), tuple(sections), address)


def findings(study: Study, run: Run) -> Findings:
    """What a run's records say, put together."""
    epochs, tasks = run.results.epochs, study.tasks
    phases = [phase for epoch in epochs for phase in epoch.phases]
    each = {epoch.epoch: joint(epoch.phases, tasks) for epoch in epochs}
    return Findings(
        study,
        run,
        joint(phases, tasks),
        {epoch: steps for epoch, steps in each.items() if steps is not None},
        layers(phases, tasks),
    )


def _phases_table(study: Study, phases: Sequence[PhaseRecord]) -> Table:
    """Steps, examples and seconds of each phase, over all epochs."""
    names = dict.fromkeys(phase.name for phase in phases)
    total = sum(phase.seconds for phase in phases)
    rows = []
    for name in names:
        own = [phase for phase in phases if phase.name == name]
        steps, examples = sum(p.steps for p in own), sum(p.examples for p in own)
        seconds = sum(p.seconds for p in own)
        rows.append((
            Cell(name), Cell(f"{steps:,}"), Cell(f"{examples:,}"), Cell(f"{seconds:,.1f}"),
            Cell(numbers.percent(seconds / total if total else None)),
            Cell(f"{1000 * seconds / examples:.2f}" if examples else numbers.MISSING),
        ))  # fmt: skip
    headings = ("steps", "examples", "seconds", "of the time", "seconds per 1,000 examples")
    return Table(
        name="phases",
        heading="Time per phase",
        subject=study.subject,
        columns=(Column("phase", numeric=False), *(Column(heading) for heading in headings)),
        rows=tuple(rows),
        caption="Over all epochs, without validation.",
    )


def _conflicts(found: Findings) -> tuple[Block, ...]:
    if found.whole is None:
        return (Text(absence(found)),)
    study, pairs = found.study, _met(found.study, found.whole)
    return (
        interplay.course_figure(found.epochs, pairs, study.subject),
        interplay.parts_figure(found.epochs, study.tasks, study.subject),
        _tasks_table(study, found.whole),
        _epochs_table(study, found.epochs, pairs),
    )


def _met(study: Study, whole: Joint) -> list[str]:
    return [pair for pair in pair_names(study.tasks) if pair in whole.pairs]


def _tasks_table(study: Study, whole: Joint) -> Table:
    return Table(
        name="tasks",
        heading="Each task in the joint steps",
        subject=study.subject,
        columns=(
            Column("task", numeric=False), Column("steps"), Column("length of its gradient"),
            Column("part of the update"), Column("plain sum", "cosine of its gradient with the"),
            Column("update", "cosine of its gradient with the"),
        ),
        rows=tuple(
            (
                Cell(task), Cell(f"{part.steps:,}"), Cell(f"{part.norm:.3g}"),
                Cell(numbers.percent(whole.parts[task])), Cell(numbers.metric(part.before)),
                Cell(numbers.metric(part.after)),
            )
            for task, part in whole.tasks.items()
        ),
        caption="Means over all epochs. Parts are of all joint steps and add up to 100 %.",
    )  # fmt: skip


def _epochs_table(study: Study, epochs: interplay.Epochs, pairs: Sequence[str]) -> Table:
    rows = []
    for epoch, steps in epochs.items():
        met = [steps.pairs.get(pair) for pair in pairs]
        rows.append((
            Cell(str(epoch)), Cell(f"{steps.steps:,}"), Cell(numbers.percent(steps.conflicting)),
            *(Cell(numbers.metric(p.cosine if p else None)) for p in met),
            *(Cell(numbers.percent(p.conflicting if p else None)) for p in met),
            Cell(numbers.percent(steps.removed)),
            *(Cell(numbers.percent(steps.parts.get(task))) for task in study.tasks),
        ))  # fmt: skip
    return Table(
        name="epochs",
        heading="The joint steps of every epoch",
        subject=study.subject,
        columns=(
            Column("epoch", numeric=False), Column("joint steps"), Column("in conflict"),
            *(Column(pair, "mean cosine") for pair in pairs),
            *(Column(pair, "steps in conflict") for pair in pairs),
            Column("removed"),
            *(Column(task, "part of the update") for task in study.tasks),
        ),
        rows=tuple(rows),
        caption="Removed: by how much the update is shorter than the plain sum of the gradients.",
        folded=True,
    )  # fmt: skip


def _layers(found: Findings) -> tuple[Block, ...]:
    if not found.layers:
        return (Text(layers_in_words(found)),)
    names = pair_names(found.study.tasks)
    pairs = [name for name in names if any(name in each for each in found.layers.values())]
    return (interplay.layers_figure(found.layers, pairs, found.study.subject),)
