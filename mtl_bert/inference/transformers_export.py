"""A run's model as a transformers directory, the tasks' heads beside the encoder.

``heads.safetensors`` holds ``TASK.weight`` [outputs, features] and ``TASK.bias`` [outputs];
``heads.json`` says how features are made and outputs are read.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, StrictUndefined
from safetensors.torch import save_file
from transformers import PreTrainedModel

from mtl_bert.inference.opened import Run
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Task
from mtl_bert.utils.files import creating

FORMAT = 1


def export(opened: Run, out: Path) -> None:
    """Write the directory as a whole; an encoder per task makes a directory per task in it.

    Raises:
        ConfigError, ModelError, HubError: an encoder or a checkpoint that cannot be had or used.
    """
    trainer = opened.settings.trainer.model_copy(update={"packing": False})
    settings = opened.settings.model_copy(update={"trainer": trainer})
    ready = replace(opened, settings=settings).predictor  # others call the encoder as it comes
    model = ready.model.cpu()
    with creating(out) as place:
        if hasattr(model, "encoders"):
            for name, encoder in model.encoders.items():
                assert isinstance(encoder, PreTrainedModel)
                _write(place / name, encoder, [model.tasks[name]], ready, opened)
        else:
            _write(place, model.encoder, list(model.tasks.values()), ready, opened)


def _write(
    place: Path, encoder: PreTrainedModel, tasks: Sequence[Task], loaded: TextModel, opened: Run
) -> None:
    place.mkdir(exist_ok=True)
    encoder.save_pretrained(place)
    loaded.tokenize.tokenizer.save_pretrained(place)
    heads = {
        f"{task.name}.{part}": tensor.contiguous()
        for task in tasks
        for part, tensor in loaded.model.heads[task.name].state_dict().items()
    }
    save_file(heads, place / "heads.safetensors")
    results = opened.results
    scores = (results if opened.checkpoint == "best" else results.last).tasks
    about = {
        "format": FORMAT,
        "features": "pooler_output" if _has_pooler(encoder) else "last_hidden_state[:, 0]",
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


@torch.inference_mode()
def _has_pooler(encoder: PreTrainedModel) -> bool:
    output = encoder(input_ids=torch.zeros(1, 1, dtype=torch.int64))
    return getattr(output, "pooler_output", None) is not None


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
