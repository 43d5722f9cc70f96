"""The whole report, put together from runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mtl_bert.analysis import (
    comparison,
    data_usage,
    fairness,
    gradient_conflicts,
    imbalance,
    numbers,
    paper_tables,
    studies,
)
from mtl_bert.analysis.canvas import Looks, looks_of
from mtl_bert.analysis.comparison import Comparison
from mtl_bert.analysis.costs import costs_table, proportions_table
from mtl_bert.analysis.curves import study_figures
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Column,
    Document,
    Points,
    Section,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.methods import setting_words
from mtl_bert.analysis.numbers import counted
from mtl_bert.analysis.predictions import answer_blocks
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.run_page import addresses
from mtl_bert.analysis.studies import Study, file_name
from mtl_bert.analysis.verdicts import claims_table

TITLE = "Post-Op BERT again: the paper's tables and figures, from these runs"

_SUPERSEDED = "left out: a newer run has the same method and seed"


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
    blocks = [*_provenance(study), runs_table(study, places)]
    sections.append(Section(f"{study.slug}-provenance", "Provenance", tuple(blocks)))
    about = (study.subject.words, study.subject.warning)
    return Section(study.slug, study.name, tuple(map(Text, filter(None, about))), tuple(sections))


def _curves(study: Study, looks: Looks) -> list[Block]:
    drawn = [*study_figures(study, looks), costs_table(study), proportions_table(study)]
    there: list[Block] = [block for block in drawn if block is not None]
    return there or [Text("Nothing was trained, so there are no curves.")]


def _shown(study: Study, chosen: Sequence[Run], *, best: bool) -> list[Run]:
    """The runs whose answers are shown: those that were asked for, or the best ARRP run."""
    members = (*study.runs, *study.superseded)
    places = {run.directory.resolve() for run in chosen}
    asked = [run for run in members if run.directory.resolve() in places]
    if asked or not best:
        return asked
    arrp = [run for run in study.runs if run.method.sampler == "arrp"]
    return [max(arrp or study.runs, key=lambda run: run.results.score)]


def runs_table(study: Study, addresses: Mapping[Path, str]) -> Table:
    """Every run of a study, also those that no other table shows; names lead to pages."""
    shown = {run for group in (*study.main, *study.single) for run in group.runs}
    records = []
    for run in (*study.runs, *study.superseded):
        results = run.results
        records.append({
            "run": Cell(run.name, link=addresses.get(run.directory, "")),
            "method": run.method.label, "seed": results.seed, "epochs": run.epochs,
            "best_epoch": results.best_epoch,
            **{task: results.tasks[task].value for task in study.tasks},
            "score": results.score, "last_score": results.last.score,
            "minutes_per_epoch": results.minutes_per_epoch, "device": results.device,
            "commit": results.commit, "_commit": (results.commit or "unknown")[:12],
            "remark": _SUPERSEDED if run in study.superseded
            else "" if run in shown else f"{run.epochs} epochs: only in this list",
        })  # fmt: skip
    lead = "Each run's name leads to its page. " if addresses else ""
    scores = {task: task for task in study.tasks} | {"score": "score"}
    return table(
        f"{study.slug}-runs",
        "All runs",
        study.subject,
        (
            *words("run", "method"),
            *numeric({"seed": "seed", "epochs": "epochs", "best_epoch": "best epoch"}),
            *numeric(scores | {"last_score": "last epoch's score"}, numbers.metric),
            *numeric({"minutes_per_epoch": "min/epoch"}, numbers.minutes),
            *words("device"), Column("commit", numeric=False, key="_commit"), *words("remark"),
        ),
        records,
        caption=f"{lead}Scores are the best epoch's; the last epoch's score stands beside them.",
        folded=True,
    )  # fmt: skip


def _provenance(study: Study) -> list[Block]:
    """What the runs have in common, and commits, devices, seeds, versions and notes."""
    runs = [run.results for run in study.runs]
    common = [f"{key}: {_pairs(value)}" for key, value in study.setting.items() if key != "tasks"]
    origin = [
        f"Commits: {_listed(results.commit or 'unknown' for results in runs)}",
        f"Devices: {_listed(results.device for results in runs)}",
        f"Seeds: {_listed(str(seed) for seed in sorted({results.seed for results in runs}))}",
        f"Versions: {' | '.join(sorted({_pairs(results.versions) for results in runs}))}",
        f"Finished: {min(r.finished for r in runs):%Y-%m-%d} to "
        f"{max(r.finished for r in runs):%Y-%m-%d}",
    ]
    skipped = {  # files by their names: where they lay is nobody's business
        f"{path.rpartition('/')[2]}: {n}" for r in runs for path, n in r.data.skipped.items()
    }
    notes = sorted({note for results in runs for note in results.notes})
    notes += [f"rows that could not be used: {words}" for words in sorted(skipped)]
    notes += sorted({
        f"{task}: {n:,} texts cut at the encoder's limit"
        for results in runs for task, n in results.data.truncated.items() if n
    })  # fmt: skip
    notes += [
        f"{run.method.label}, seed {run.results.seed}: {run.name} is {_SUPERSEDED}"
        for run in study.superseded
    ]
    blocks: list[Block] = []
    for lead, points in (
        ("What all runs of this setting have in common:", common),
        ("Where they come from:", origin),
        ("Notes of the runs:", notes),
    ):
        blocks += [Text(lead), Points(tuple(points))] if points else []
    return blocks


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return setting_words(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
