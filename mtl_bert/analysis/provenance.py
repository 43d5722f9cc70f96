"""Where a study's numbers come from."""

from collections.abc import Iterable

from mtl_bert.analysis import numbers
from mtl_bert.analysis.document import Block, Points, Text
from mtl_bert.analysis.methods import method_of
from mtl_bert.analysis.nodes import node_words
from mtl_bert.analysis.studies import Study


def provenance(study: Study) -> list[Block]:
    """What the runs have in common, and commits, devices, seeds, versions and notes."""
    setting, runs = study.setting, [run.results for run in study.runs]
    optimizer, schedule = setting["optimizer"] or {}, setting["scheduler"] or {}
    bucket, every = (
        setting["group_by_length"],
        numbers.counted(setting["check_val_every_n_epoch"], "epoch"),
    )
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
        f"Optimizer: {node_words(optimizer)}; schedule: {node_words(schedule)}",
        f"Precision: {setting['precision']}; clipping: {node_words(setting['gradient_clip_val'])}",
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
    skipped = {f"{path}: {n}" for results in runs for path, n in _skipped(results.data.skipped)}
    notes += [f"rows that could not be used: {words}" for words in sorted(skipped)]
    notes += sorted({
        f"{task}: {n:,} texts cut at the encoder's limit"
        for results in runs for task, n in results.data.truncated.items() if n
    })  # fmt: skip
    notes += [
        f"{method_of(run).label}, seed {run.results.seed}: {run.name} is left out, a newer run has "
        "the same method and seed"
        for run in study.superseded
    ]
    if notes:
        blocks += [Text("Notes of the runs:"), Points(tuple(notes))]
    return blocks


def _skipped(skipped: dict[str, int]) -> Iterable[tuple[str, int]]:
    """Files by their names: where they lay is nobody's business."""
    return ((path.rpartition("/")[2], n) for path, n in skipped.items())


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return str(node)
    return ", ".join(f"{key}={node_words(value)}" for key, value in node.items())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
