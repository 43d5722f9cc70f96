"""A page for every run: what happened in it, in words, figures and tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtl_bert.analysis import data_usage, numbers
from mtl_bert.analysis.document import (
    Answers,
    Block,
    Document,
    Section,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.figures.heat_maps import epochs_figure, layers_figure
from mtl_bert.analysis.figures.training_curves import parts_figure, training_figure
from mtl_bert.analysis.gradient_conflicts import Joint, pair_names
from mtl_bert.analysis.run_answers import NEVER_MET, Findings, answers
from mtl_bert.analysis.run_answers import layers as layers_in_words
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Study, file_name, studies

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
    rows = []
    for name in dict.fromkeys(phase.name for phase in found.phases):
        own = [phase for phase in found.phases if phase.name == name]
        steps, examples = sum(p.steps for p in own), sum(p.examples for p in own)
        seconds = sum(p.seconds for p in own)
        rows.append((
            name, f"{steps:,}", f"{examples:,}", f"{seconds:,.1f}",
            numbers.percent(seconds / total if total else None),
            f"{1000 * seconds / examples:.2f}" if examples else numbers.MISSING,
        ))  # fmt: skip
    headings = ("steps", "examples", "seconds", "of the time", "seconds per 1,000 examples")
    return table(
        "phases",
        "Time per phase",
        found.study.subject,
        (*words("phase"), *numeric(*headings)),
        rows,
        caption="Over all epochs, without validation.",
    )


def _conflicts(found: Findings) -> tuple[Block, ...]:
    whole, tasks, subject = found.whole, found.study.tasks, found.study.subject
    if whole is None:
        return (Text(NEVER_MET),)
    pairs = [pair for pair in pair_names(tasks) if pair in whole.pairs]
    return (
        epochs_figure(found.epochs, pairs, subject),
        parts_figure(found.epochs, tasks, subject),
        _tasks_table(found.study, whole),
        _epochs_table(found.study, found.epochs, pairs),
    )


def _tasks_table(study: Study, whole: Joint) -> Table:
    return table(
        "tasks",
        "Each task in the joint steps",
        study.subject,
        (
            *words("task"), *numeric("steps", "length of its gradient", "part of the update"),
            *numeric("plain sum", "update", group="cosine of its gradient with the"),
        ),
        [
            (
                task, f"{part.steps:,}", f"{part.norm:.3g}", numbers.percent(whole.parts[task]),
                numbers.metric(part.before), numbers.metric(part.after),
            )
            for task, part in whole.tasks.items()
        ],
        caption="Means over all epochs. Parts are of all joint steps and add up to 100 %.",
    )  # fmt: skip


def _epochs_table(study: Study, epochs: Mapping[int, Joint], pairs: Sequence[str]) -> Table:
    rows = []
    for epoch, steps in epochs.items():
        met = [steps.pairs.get(pair) for pair in pairs]
        rows.append((
            str(epoch), f"{steps.steps:,}", numbers.percent(steps.conflicting),
            *(numbers.metric(p.cosine if p else None) for p in met),
            *(numbers.percent(p.conflicting if p else None) for p in met),
            numbers.percent(steps.removed),
            *(numbers.percent(steps.parts.get(task)) for task in study.tasks),
        ))  # fmt: skip
    return table(
        "epochs",
        "The joint steps of every epoch",
        study.subject,
        (
            *words("epoch"), *numeric("joint steps", "in conflict"),
            *numeric(*pairs, group="mean cosine"), *numeric(*pairs, group="steps in conflict"),
            *numeric("removed"), *numeric(*study.tasks, group="part of the update"),
        ),
        rows,
        caption="Removed: by how much the update is shorter than the plain sum of the gradients.",
        folded=True,
    )  # fmt: skip


def _layers(found: Findings) -> Block:
    if not found.layers:
        return Text(layers_in_words(found))
    names = pair_names(found.study.tasks)
    pairs = [name for name in names if any(name in each for each in found.layers.values())]
    return layers_figure(found.layers, pairs, found.study.subject)
