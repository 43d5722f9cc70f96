"""A run's model as a transformers directory, the tasks' heads beside the encoder.

``heads.safetensors`` holds ``TASK.weight`` [outputs, features] and ``TASK.bias`` [outputs];
``heads.json`` says how features are made and outputs are read.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from mtl_bert.model.lora import ADAPTERS, SHARED, merge, take_apart
from mtl_bert.model.pals import FILE, TaskAdapters
from mtl_bert.model.pooling import FORMULAS, write_sentence_transformers
from mtl_bert.runs.opened import Run
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Task
from mtl_bert.utils.files import creating

FORMAT = 1


def export(opened: Run, out: Path, *, apart: bool = False) -> None:
    """Write the directory as a whole; an encoder per task makes a directory per task in it.

    Args:
        opened: the run.
        out: the directory.
        apart: leave LoRA's changes beside the encoder, in ``adapters/NAME``, as peft reads them.

    Raises:
        ConfigError, ModelError, HubError: an encoder or a checkpoint that cannot be had or used.
    """
    trainer = opened.settings.trainer.model_copy(update={"packing": False})
    settings = opened.settings.model_copy(update={"trainer": trainer})
    ready = replace(opened, settings=settings).predictor  # others call the encoder as it comes
    model = ready.model.cpu()
    with creating(out) as place:
        merges = model.adapter.kind == "lora_per_task" and not apart
        for name, task in model.tasks.items() if hasattr(model, "encoders") or merges else ():
            encoder = copy.deepcopy(model.encoder_of(name)) if merges else model.encoder_of(name)
            _write(place / name, encoder, [task], ready, opened, apart)
        if not (hasattr(model, "encoders") or merges):
            _write(place, model.encoder, list(model.tasks.values()), ready, opened, apart)


def _write(
    place: Path,
    encoder: PreTrainedModel,
    tasks: Sequence[Task],
    loaded: TextModel,
    opened: Run,
    apart: bool,
) -> None:
    place.mkdir(exist_ok=True)
    adapter = loaded.model.adapter
    if apart:
        take_apart(encoder, place / ADAPTERS)
    elif adapter.is_lora:
        merge(encoder, tasks[0].name if adapter.kind == "lora_per_task" else SHARED)
    encoder.save_pretrained(place)
    tokenizer, pooling = loaded.tokenize.tokenizer, loaded.model.pooling.kind
    tokenizer.padding_side = "right"  # as ours, and as "features" below has it
    tokenizer.save_pretrained(place)
    if pooling != "pooler":
        write_sentence_transformers(place, pooling, loaded.model.features)
    heads = {
        f"{task.name}.{part}": tensor.contiguous()
        for task in tasks
        for part, tensor in loaded.model.heads[task.name].state_dict().items()
    }
    save_file(heads, place / "heads.safetensors")
    results = opened.results
    scores = (results if opened.checkpoint == "best" else results.last).tasks
    switched = loaded.model.switched
    if isinstance(switched, TaskAdapters):
        own = {task.name: switched.modules[task.name] for task in tasks}
        save_file(nn.ModuleDict(own).state_dict(), place / FILE)
    about = {
        "format": FORMAT,
        "adapter": asdict(switched.shape) if isinstance(switched, TaskAdapters) else None,
        "features": FORMULAS[pooling],
        "loader": "AutoModelForTextEncoding"  # T5's encoder without its decoder
        if type(encoder).__name__.endswith("EncoderModel")
        else "AutoModel",
        "peft": (SHARED if adapter.kind == "lora" else "TASK") if apart else None,
        "max_length": loaded.tokenize.max_length,
        "heads": {task.name: _head(task, loaded.tokenize.cross_encode) for task in tasks},
        "made_from": {
            "program": f"mtl_bert {results.versions.get('mtl-bert', 'unknown')}",
            "commit": results.commit,
            "checkpoint": opened.checkpoint,
            "sampler": opened.settings.sampler.get("name", "unnamed"),
            "seed": results.seed,
            "encoder": results.encoder,
            "data": results.data.name,
            "synthetic": results.data.synthetic,
            "dev": {task.name: scores[task.name].model_dump() for task in tasks},
            "seen": results.data.seen,
            "notes": results.notes,
        },
        "data_sets": _hub_data_sets(tasks, opened),
        "trained_on": _trained_on(tasks, opened),
    }
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    (place / "heads.json").write_text(text, "utf-8")
    (place / "README.md").write_text(_card(about), "utf-8")


def _trained_on(tasks: Sequence[Task], opened: Run) -> list[str]:
    """What the data are called, so that a run on top of this model knows what it has seen."""
    data = opened.results.data
    before = [name for names in data.seen.values() for name in names]
    own = [] if data.synthetic else [next(iter(task.known_as), task.name) for task in tasks]
    return list(dict.fromkeys([*before, *own]))


def _hub_data_sets(tasks: Sequence[Task], opened: Run) -> list[str]:
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
    return known | {end: getattr(head, end) for end in ("low", "high") if hasattr(head, end)}


def _card(about: dict[str, Any]) -> str:
    """A model card: what this is, what it reached, and ten lines that use it."""
    text = (Path(__file__).parent / "model_card.md.j2").read_text("utf-8")
    template = Environment(keep_trailing_newline=True, undefined=StrictUndefined).from_string(text)
    alone = any(head.get("pairs") == "alone" for head in about["heads"].values())
    given = {"made": about["made_from"], "example": next(iter(about["heads"])), "alone": alone}
    return template.render(about, **given, dumps=json.dumps)
