"""The whole report, put together from runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mtl_bert.analysis import (
    comparison,
    data_usage,
    fairness,
    gradient_conflicts,
    imbalance,
    paper_tables,
    studies,
)
from mtl_bert.analysis.comparison import Comparison
from mtl_bert.analysis.costs import costs_table, proportions_table
from mtl_bert.analysis.document import Block, Document, Points, Section, Text
from mtl_bert.analysis.figures.canvas import Looks, looks_of
from mtl_bert.analysis.figures.curves import study_figures
from mtl_bert.analysis.numbers import counted
from mtl_bert.analysis.predictions import answer_blocks
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.run_list import provenance, runs_table
from mtl_bert.analysis.run_page import addresses
from mtl_bert.analysis.studies import Study, file_name
from mtl_bert.analysis.verdicts import claims_table

TITLE = "Post-Op BERT again: the paper's tables and figures, from these runs"


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
    found = studies.studies(runs)
    looks = looks_of(group.method for study in found for group in study.groups)
    places = addresses(runs) if pages else {}
    comparisons = {study: comparison.compare(study, study.main) for study in found}
    series = imbalance.series_of(found)
    in_series = {study for each in series for study in each.studies}
    sections = [
        _study_section(study, looks, chosen, places, comparisons[study], serial=study in in_series)
        for study in found
    ]
    sections += [imbalance.section(each, looks, comparisons) for each in series]
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
    looks: Looks,
    chosen: Sequence[Run],
    places: Mapping[Path, str],
    compared: Comparison,
    *,
    serial: bool,
) -> Section:
    # A study of an imbalance series is there for the series: without a row of the paper's it is not
    # held against the paper.
    alone = not serial or paper_tables.is_the_papers(study)
    tables: list[Block] = [] if alone else [paper_tables.methods_table(study)]
    parts = {"tables": ("Tables", tables)}
    if alone:
        others = paper_tables.unpublished(study)
        tables += paper_tables.dataset_table(study)
        tables += paper_tables.score_table(study, 2, "baselines for PCGrad", others)
        tables += paper_tables.first_epoch_table(study)
        tables += paper_tables.score_table(study, 4, "ARRP after all epochs", others)
        parts["claims"] = ("The paper's claims", [claims_table(study, compared)])
    used = data_usage.methods_table(study) or Text("Nothing was trained, so no data were used.")
    parts |= {
        "differences": ("Is the difference real?", comparison.blocks(study, compared)),
        "interplay": ("What the tasks do to each other", gradient_conflicts.blocks(study)),
        "fairness": ("Who gains and who loses by learning together", fairness.blocks(study)),
        "use": ("How much of the data is used", [used]),
        "curves": ("What scores cost, and how they come about", _curves(study, looks)),
    }
    sections = [
        Section(f"{study.slug}-{anchor}", heading, tuple(blocks))
        for anchor, (heading, blocks) in parts.items()
    ]
    for number, run in enumerate(_shown(study, chosen, best=alone)):
        lead = f"{study.slug}-{number + 1}" if number else study.slug
        blocks = [b for task in study.tasks for b in answer_blocks(
            study, run, task, f"{lead}-{file_name(task)}")]  # fmt: skip
        anchor = f"{study.slug}-answers{number or ''}"
        sections.append(Section(anchor, f"What {run.name} answers", tuple(blocks)))
    blocks = [*provenance(study), runs_table(study, _marks(study), places)]
    sections.append(Section(f"{study.slug}-provenance", "Provenance", tuple(blocks)))
    about = (study.subject.words, study.subject.warning)
    return Section(study.slug, study.name, tuple(map(Text, filter(None, about))), tuple(sections))


def _curves(study: Study, looks: Looks) -> list[Block]:
    drawn = [*study_figures(study, looks), costs_table(study), proportions_table(study)]
    there: list[Block] = [block for block in drawn if block is not None]
    return there or [Text("Nothing was trained, so there are no curves.")]


def _shown(study: Study, chosen: Sequence[Run], *, best: bool) -> list[Run]:
    """The runs whose answers are shown: those that were asked for, or the best ARRP run."""
    members = [run for group in study.groups for run in group.runs] + list(study.superseded)
    places = {run.directory.resolve() for run in chosen}
    asked = [run for run in members if run.directory.resolve() in places]
    if asked or not best:
        return asked
    arrp = [run for run in study.runs if run.method.sampler == "arrp"]
    return [max(arrp or study.runs, key=lambda run: run.results.score)]


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
