"""The whole report, put together from runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl_bert.analysis import (
    differences,
    fairness,
    imbalance,
    interplay,
    ledger,
    paper,
    style,
    tables,
)
from mtl_bert.analysis.claims import judged
from mtl_bert.analysis.comparing import RULE, Comparison, compare
from mtl_bert.analysis.costs import costs_table
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Column,
    Document,
    Points,
    Section,
    Table,
    Text,
)
from mtl_bert.analysis.figures import curves
from mtl_bert.analysis.figures.answers import confusion_figure, scatter_figure
from mtl_bert.analysis.figures.effects import effect_figures
from mtl_bert.analysis.heads import Classes, head_of
from mtl_bert.analysis.listing import runs_table
from mtl_bert.analysis.mistakes import mistakes_block
from mtl_bert.analysis.numbers import counted
from mtl_bert.analysis.proportions import proportions_table
from mtl_bert.analysis.provenance import provenance
from mtl_bert.analysis.runpage import addresses
from mtl_bert.analysis.runs import Run, UnusableError
from mtl_bert.analysis.studies import Study, file_name, studies

TITLE = "Post-Op BERT again: the paper's tables and figures, from these runs"
_NUMBERS = {paper.SENTIMENT: "Figure 2", paper.PARAPHRASE: "Figure 3", paper.SIMILARITY: "Figure 4"}


def report(
    runs: Sequence[Run],
    warnings: Sequence[str] = (),
    chosen: Sequence[Run] = (),
    *,
    pages: bool = True,
) -> Document:
    """The report of runs.

    Args:
        runs: all of them.
        warnings: what could not be read.
        chosen: runs whose answers are shown; without any of a setting, its best ARRP run.
        pages: whether each run has a page to lead to.
    """
    found = studies(runs)
    looks = style.looks(group.method for study in found for group in study.groups)
    places = addresses(runs) if pages else {}
    comparisons = {study: compare(study, study.main) for study in found}
    ladders = imbalance.ladders(found)
    rungs = {study for ladder in ladders for study in ladder.studies}
    sections = [
        _study_section(study, looks, chosen, places, comparisons[study], rung=study in rungs)
        for study in found
    ]
    sections += [imbalance.section(ladder, looks, comparisons) for ladder in ladders]
    if warnings:
        sections.append(Section("left-out", "Files left out", (Points(tuple(warnings)),)))
    return Document(TITLE, _lead(found), tuple(sections))


def _lead(found: Sequence[Study]) -> tuple[str, ...]:
    counts = [f"{study.name}: {counted(len(study.runs), 'run')}" for study in found]
    lead = [
        "The paper: Giancarlo Ricci, “Post-Op BERT: Improving Gradient-Surgery on Imbalanced "
        "Data”. Its printed numbers stand beside those of the runs, with what they contradict each "
        "other in.",
        f"{counted(sum(len(study.runs) for study in found), 'run')} in {len(found)} "
        f"{'setting' if len(found) == 1 else 'settings, which are never mixed'}. "
        f"{'; '.join(counts)}.",
    ]
    if any(study.subject.synthetic for study in found):
        lead.append(
            "Numbers marked SYNTHETIC are about made-up text. They say that the program works, "
            "never what a method is worth, and are no published number's counterpart."
        )
    return tuple(lead)


def _study_section(
    study: Study,
    looks: curves.Looks,
    chosen: Sequence[Run],
    places: Mapping[Path, str],
    comparison: Comparison,
    *,
    rung: bool,
) -> Section:
    # A rung of a ladder is there for the ladder: without a row of the paper's it is not held
    # against the paper.
    alone = not rung or tables.is_the_papers(study)
    lead: list[tuple[str, str, Iterable[Block]]] = (
        _held_against_the_paper(study, comparison)
        if alone
        else [("tables", "Tables", [tables.methods_table(study)])]
    )
    answer_sections = [
        _answers(study, run, number) for number, run in enumerate(_shown(study, chosen, best=alone))
    ]
    marks = _marks(study)
    parts: list[tuple[str, str, Iterable[Block]]] = [
        *lead,
        ("differences", "Is the difference real?", differences.blocks(study, comparison)),
        ("interplay", "What the tasks do to each other", interplay.blocks(study)),
        ("fairness", "Who gains and who loses by learning together", fairness.blocks(study)),
        ("use", "How much of the data is used", _use(study)),
        ("curves", "What scores cost, and how they come about", _curves(study, looks)),
    ]  # fmt: skip
    sections = [
        Section(f"{study.slug}-{anchor}", heading, tuple(blocks))
        for anchor, heading, blocks in parts
    ]
    last = Section(
        f"{study.slug}-provenance",
        "Provenance",
        (*provenance(study), runs_table(study, marks, places)),
    )
    return Section(
        study.slug,
        study.name,
        tuple(Text(words) for words in (study.subject.words, study.subject.warning) if words),
        (*sections, *answer_sections, last),
    )


def _held_against_the_paper(
    study: Study, comparison: Comparison
) -> list[tuple[str, str, Iterable[Block]]]:
    others = tables.unpublished(study)
    blocks = [
        *tables.dataset_table(study),
        *tables.score_table(study, 2, "baselines for PCGrad", others),
        *tables.first_epoch_table(study),
        *tables.score_table(study, 4, "ARRP after all epochs", others),
    ]
    return [
        ("tables", "Tables", blocks),
        ("claims", "The paper's claims", [_claims(study, comparison)]),
    ]


def _use(study: Study) -> list[Block]:
    table = ledger.methods_table(study)
    return [Text("Nothing was trained, so no data were used.")] if table is None else [table]


def _claims(study: Study, comparison: Comparison) -> Table:
    found = judged(comparison, synthetic=study.subject.synthetic)
    return Table(
        name=f"{study.slug}-claims",
        heading="What the paper claims, and what these runs say",
        subject=study.subject,
        columns=tuple(
            Column(heading, numeric=False, wide=True)
            for heading in ("claim", "verdict", "ours", "the paper's evidence", "rule")
        ),
        rows=tuple(
            (
                Cell(f"{n}. {c.text}"), Cell(j.verdict, bold=True), Cell(j.ours),
                Cell(c.evidence), Cell(c.rule),
            )
            for n, (c, j) in enumerate(found, start=1)
        ),
        caption=f"{RULE} {study.subject.warning}".strip(),
        records=tuple(
            {
                "claim": c.text, "paper": c.evidence, "ours": j.ours, "verdict": j.verdict,
                "rule": c.rule, "subject": study.subject.words,
            }
            for c, j in found
        ),
    )  # fmt: skip


def _curves(study: Study, looks: curves.Looks) -> list[Block]:
    drawn: list[Block | None] = [
        curves.cost_figure(study, looks),
        *curves.progress_figures(study, looks),
        curves.utilisation_figure(study, looks),
        *effect_figures(study, looks),
    ]
    drawn += [costs_table(study), proportions_table(study)]
    there = [block for block in drawn if block is not None]
    return there or [Text("Nothing was trained, so there are no curves.")]


def _shown(study: Study, chosen: Sequence[Run], *, best: bool) -> list[Run]:
    """The runs whose answers are shown: those that were asked for, or the best ARRP run."""
    members = [run for group in study.groups for run in group.runs] + list(study.superseded)
    places = {run.directory.resolve() for run in chosen}
    asked = [run for run in members if run.directory.resolve() in places]
    if asked or not best:
        return asked
    arrp = [run for run in study.runs if run.config["sampler"]["name"] == "arrp"]
    return [max(arrp or study.runs, key=lambda run: run.results.score)]


def _answers(study: Study, run: Run, number: int) -> Section:
    """The paper's section 6 for a run."""
    blocks: list[Block] = []
    for task in study.tasks:
        stem = f"{study.slug}-{'' if number == 0 else f'{number + 1}-'}{file_name(task)}"
        blocks += answer_blocks(study, run, task, stem)
    return Section(f"{study.slug}-answers{number or ''}", f"What {run.name} answers", tuple(blocks))


@dataclass(frozen=True)
class _Titles:
    """How a task's figure is called: by the paper's number, if it has one."""

    task: str

    def figure(self, what: str, run: Run) -> str:
        lead = f"{_NUMBERS[self.task]}: " if self.task in _NUMBERS else ""
        name = paper.TITLES.get(self.task, self.task).lower()
        return f"{lead}{what} of {name} ({self.task}), {run.name}"


def answer_blocks(study: Study, run: Run, task: str, stem: str) -> list[Block]:
    """A task's figure and the wrong answers that a run is most sure of, or why there are none."""
    head = head_of(run.config["tasks"][task])
    if head is None:
        return [Text(f"{task}: its head is of a kind that this report has no figure for.")]
    try:
        found = run.predictions(task)
    except UnusableError as error:
        return [
            Text(f"{task}: no figure, because the predictions of {run.name} are no use: {error}.")
        ]
    titles = _Titles(task)
    if isinstance(head, Classes):
        places = (found.labels, found.predictions)
        if any((x < 0).any() or (x >= len(head.names)).any() for x in places):
            return [Text(f"{task}: no figure, because predictions are not among the classes.")]
        heading = titles.figure("confusion matrix and labels", run)
        figure = confusion_figure(
            f"{stem}-confusion", heading, study.subject, run, task, head, found
        )
    else:
        heading = titles.figure("true and predicted values", run)
        figure = scatter_figure(f"{stem}-scatter", heading, study.subject, task, head, found)
    listed = mistakes_block(study, f"{stem}-mistakes", run.name, task, head, found)
    return [figure, listed]


def _marks(study: Study) -> dict[Path, str]:
    """Why runs stand in no other table."""
    marks = {
        run.directory: "left out: a newer run has the same method and seed"
        for run in study.superseded
    }
    shown = {*study.main, *study.single}
    for group in study.groups:
        if group not in shown:
            for run in group.runs:
                marks[run.directory] = f"{group.epochs} epochs: only in this list"
    return marks
