"""Where a study's numbers come from: what its runs have in common, and the list of them all."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import (
    Block,
    Cell,
    Column,
    Points,
    Table,
    Text,
    numeric,
    table,
    words,
)
from mtl_bert.analysis.methods import setting_words
from mtl_bert.analysis.studies import Study


def runs_table(study: Study, marks: Mapping[Path, str], addresses: Mapping[Path, str]) -> Table:
    """Every run of a study, also those that no other table shows.

    Args:
        study: the runs.
        marks: a run's directory -> why it stands in no other table.
        addresses: a run's directory -> its page, where runs have any.
    """
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
            "remark": marks.get(run.directory, ""),
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


def provenance(study: Study) -> list[Block]:
    """What the runs have in common, and commits, devices, seeds, versions and notes."""
    setting, runs = study.setting, [run.results for run in study.runs]
    optimizer, schedule = setting["optimizer"] or {}, setting["scheduler"] or {}
    bucket, clip = setting["group_by_length"], setting["gradient_clip_val"]
    every = numbers.counted(setting["check_val_every_n_epoch"], "epoch")
    of, sample = setting["dev_sample"], ""
    if of is not None:
        sample = f" (at most {of:,} examples of each; the best epoch and the last on all)"
    common = [
        f"Data: {_pairs(setting['data'])}",
        "Usable examples: "
        + "; ".join(f"{task} {_pairs(sizes)}" for task, sizes in setting["sizes"].items()),
        f"Encoder: {setting['encoder']}; {_pairs(setting['model'])}",
        f"A step's batch of each task: {setting['batch']}; learning rate {setting['lr']}",
        f"Length bucketing: {'none' if bucket is None else f'within {bucket} steps'}; dev sets "
        f"scored every {every}{sample}",
        f"Optimizer: {setting_words(optimizer)}; schedule: {setting_words(schedule)}",
        f"Precision: {setting['precision']}; clipping: {setting_words(clip)}",
    ]
    notes = sorted({note for results in runs for note in results.notes})
    versions = sorted({_pairs(results.versions) for results in runs})
    origin = [
        f"Commits: {_listed(results.commit or 'unknown' for results in runs)}",
        f"Devices: {_listed(results.device for results in runs)}",
        f"Seeds: {_listed(str(seed) for seed in sorted({results.seed for results in runs}))}",
        f"Versions: {' | '.join(versions)}",
        f"Finished: {min(r.finished for r in runs):%Y-%m-%d} to "
        f"{max(r.finished for r in runs):%Y-%m-%d}",
    ]
    blocks: list[Block] = [
        Text("What all runs of this setting have in common:"), Points(tuple(common)),
        Text("Where they come from:"), Points(tuple(origin)),
    ]  # fmt: skip
    skipped = {  # files by their names: where they lay is nobody's business
        f"{path.rpartition('/')[2]}: {n}" for r in runs for path, n in r.data.skipped.items()
    }
    notes += [f"rows that could not be used: {words}" for words in sorted(skipped)]
    notes += sorted({
        f"{task}: {n:,} texts cut at the encoder's limit"
        for results in runs for task, n in results.data.truncated.items() if n
    })  # fmt: skip
    notes += [
        f"{run.method.label}, seed {run.results.seed}: {run.name} is left out, a newer run has "
        "the same method and seed"
        for run in study.superseded
    ]
    if notes:
        blocks += [Text("Notes of the runs:"), Points(tuple(notes))]
    return blocks


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return str(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
