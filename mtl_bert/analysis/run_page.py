"""A page for every run: what happened in it, in words, figures and tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtl_bert.analysis import data_usage, numbers
from mtl_bert.analysis.costs import phase_sums
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
from mtl_bert.analysis.figures.run import (
    conflicts_figure,
    layers_figure,
    parts_figure,
    training_figure,
)
from mtl_bert.analysis.gradient_conflicts import Joint, pair_names
from mtl_bert.analysis.numbers import percent
from mtl_bert.analysis.run_answers import Findings, answer, answers
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
        _tasks_table(found.study, whole),
        _epochs_table(found.study, found.epochs, pairs),
    )


def _tasks_table(study: Study, whole: Joint) -> Table:
    records = [
        {"task": task, **part.model_dump(), "part": whole.parts[task]}
        for task, part in whole.tasks.items()
    ]
    return table(
        "tasks",
        "Each task in the joint steps",
        study.subject,
        (
            *words("task"), *numeric(["steps"]),
            *numeric({"norm": "length of its gradient"}, "{:.3g}".format),
            *numeric({"part": "part of the update"}, percent),
            *numeric({"before": "plain sum", "after": "update"}, numbers.metric,
                     "cosine of its gradient with the"),
        ),
        records,
        caption="Means over all epochs. Parts are of all joint steps and add up to 100 %.",
    )  # fmt: skip


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
