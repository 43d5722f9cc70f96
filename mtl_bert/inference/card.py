"""The model card of an export, ready for a model hub: what was trained, on what, and how well."""

import copy
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from transformers import PreTrainedTokenizerBase

from mtl_bert.analysis.statistics import bootstrap, percentiles
from mtl_bert.config.compose import CONF
from mtl_bert.runs.answers import ANSWERS, numbers
from mtl_bert.runs.methods import method_of
from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Task
from mtl_bert.tasks.resampled_metrics import recognise
from mtl_bert.utils.files import without_places

FORMAT = 1
HEADS = "heads.json"


def describe(
    opened: OpenedRun, loaded: TextModel, tasks: Sequence[Task], **more: Any
) -> dict[str, Any]:
    """What heads.json holds of a run and some of its tasks; ``more`` goes beside it."""
    results = opened.results
    recorded = opened.recorded
    told = None if results.overrides is None else shlex.join(without_places(results.overrides))
    built_in = {path.stem for path in (CONF / "task").glob("*.yaml")}
    if told is not None and opened.settings.tasks.keys() - built_in:
        told = f"--config-dir DIR {told}"  # of the files of one's own tasks
    return {
        "format": FORMAT,
        **more,
        "max_length": loaded.tokenize.max_length,
        "heads": {task.name: _head(task, loaded.tokenize.cross_encode) for task in tasks},
        "made_from": {
            "program": f"mtl_bert {results.versions.get('mtl-bert', 'unknown')}",
            "commit": results.commit,
            "command": None if told is None else f"mtl-bert train {told}",
            "checkpoint": opened.checkpoint,
            "epoch": recorded.epoch,
            "sampler": opened.settings.sampler.get("name", "unnamed"),
            "method": method_of(results.config).label,
            "seed": results.seed,
            "encoder": without_places(results.encoder),
            "data": results.data.name,
            "synthetic": results.data.synthetic,
            "sizes": {task.name: results.data.sizes[task.name] for task in tasks},
            "dev": {task.name: recorded.tasks[task.name].model_dump() for task in tasks},
            "intervals": {task.name: interval(opened, task.name) for task in tasks},
            "seen": results.data.seen,
            "notes": results.notes,
        },
        "data_sets": _hub_data_sets(tasks, opened),
        "trained_on": _trained_on(tasks, opened),
    }


def interval(opened: OpenedRun, task: str) -> list[float] | None:
    """Where 95 of 100 resamples of the dev set have the best epoch's metric, low and high.

    None for other epochs, whose answers a run does not keep, and for a metric that is not known.
    """
    if opened.checkpoint != "best" or not opened.folder.predictions(task).is_file():
        return None
    recorded, answers = opened.results.tasks[task], opened.predictions(task)
    labels, predictions = (numbers(answers[name]) for name in ANSWERS)
    known = recognise(recorded.metric, labels, predictions, recorded.value)
    if not known:
        return None
    middle, _ = percentiles(bootstrap(known, labels, predictions[None], 0)[0])
    return [middle.low, middle.high]


def write_card(place: Path, about: dict[str, Any], form: str, **more: Any) -> None:
    """Write README.md: what this is, what it reached, and lines of Python that use it.

    Args:
        about: what ``describe`` gave.
        form: encoder, classifier or onnx.
    """
    text = (Path(__file__).parent / "model_card.md.j2").read_text("utf-8")
    template = Environment(keep_trailing_newline=True, undefined=StrictUndefined).from_string(text)
    alone = any(head.get("pairs") == "alone" for head in about["heads"].values())
    given = {"made": about["made_from"], "example": next(iter(about["heads"])), "alone": alone}
    card = template.render(about, **given, **more, form=form, dumps=json.dumps)
    (place / "README.md").write_text(card, "utf-8")


def write_heads(place: Path, about: dict[str, Any]) -> None:
    """Write heads.json."""
    (place / HEADS).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_tokenizer(place: Path, loaded: TextModel, max_length: int | None = None) -> None:
    """Write the tokenizer, which cuts texts where ours does when it is told to cut them."""
    tokenizer = copy.deepcopy(loaded.tokenize.tokenizer)
    tokenizer.model_max_length = max_length or loaded.tokenize.max_length
    save_tokenizer(tokenizer, place)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, place: Path) -> None:
    """Save a tokenizer that pads at the end, as ours does and as formulas of features have it."""
    # An attribute alone is saved only where the tokenizer came with one.
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "right"
    tokenizer.save_pretrained(place)


def _trained_on(tasks: Sequence[Task], opened: OpenedRun) -> list[str]:
    """What the data are called, so that a run on top of this model knows what it has seen."""
    data = opened.results.data
    before = [name for names in data.seen.values() for name in names]
    own = [] if data.synthetic else [next(iter(task.known_as), task.name) for task in tasks]
    return list(dict.fromkeys([*before, *own]))


def _hub_data_sets(tasks: Sequence[Task], opened: OpenedRun) -> list[str]:
    """The hub's names of the data sets, where the data came from there."""
    source = opened.settings.data.source["name"]
    paths = [task.sources.get(source, {}).get("path") for task in tasks]
    return list(dict.fromkeys(path for path in paths if path and not Path(path).exists()))


def _head(task: Task, cross_encode: bool) -> dict[str, Any]:
    head = task.head
    known: dict[str, Any] = {"type": type(head).__name__, "pair": task.pair}
    if task.pair:
        known["pairs"] = "joint" if cross_encode else "alone"
    if head.names:
        known["names"] = list(head.names)
    if task.max_length is not None:
        known["max_length"] = task.max_length
    return known | {end: getattr(head, end) for end in ("low", "high") if hasattr(head, end)}
