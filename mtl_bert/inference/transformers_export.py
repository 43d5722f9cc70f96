"""A run's model as transformers directories: the encoder with all heads, or one task's classifier.

Beside an encoder ``heads.safetensors`` holds ``TASK.weight`` [outputs, features] and ``TASK.bias``
[outputs]; ``heads.json`` says how features are made and outputs are read.

Shapes: B examples, C logits, D features.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchmetrics import MeanMetric
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from mtl_bert.data.tokenize import Tokenize
from mtl_bert.inference.card import (
    FORMAT,
    HEADS,
    describe,
    save_tokenizer,
    write_card,
    write_heads,
    write_tokenizer,
)
from mtl_bert.model import MultiTaskModel, Pretrained
from mtl_bert.model.adapters import Adapter
from mtl_bert.model.lora import ADAPTERS, SHARED, merge, take_apart
from mtl_bert.model.packing import SAMPLE, TOLERANCE, sample
from mtl_bert.model.pals import FILE, TaskAdapters
from mtl_bert.model.pooling import FORMULAS, write_sentence_transformers
from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Binary, MultiClass, MultiLabel, Regression, SoftLabels, Task
from mtl_bert.utils.errors import UserError, first_line
from mtl_bert.utils.files import creating

WEIGHTS = "heads.safetensors"
READABLE = {
    head.__name__: head for head in (MultiClass, Binary, SoftLabels, MultiLabel, Regression)
}


def export(opened: OpenedRun, out: Path, *, apart: bool = False) -> None:
    """Write the directory as a whole; an encoder per task makes a directory per task in it.

    Args:
        opened: the run.
        out: the directory.
        apart: leave LoRA's changes beside the encoder, in ``adapters/NAME``, as peft reads them.

    Raises:
        ConfigError, ModelError, HubError: an encoder or a checkpoint that cannot be had or used.
    """
    ready = unpacked(opened)
    model = ready.model
    _refuse_layers(model, list(model.tasks))
    with creating(out) as place:
        merges = model.adapter.kind == "lora_per_task" and not apart
        for name, task in model.tasks.items() if hasattr(model, "encoders") or merges else ():
            encoder = copy.deepcopy(model.encoder_of(name)) if merges else model.encoder_of(name)
            _write(place / name, encoder, [task], ready, opened, apart)
        if not (hasattr(model, "encoders") or merges):
            _write(place, model.encoder, list(model.tasks.values()), ready, opened, apart)


def unpacked(opened: OpenedRun) -> TextModel:
    """A run's model on the CPU, padded: others call the encoder as it comes."""
    trainer = opened.settings.trainer.model_copy(update={"packing": False})
    settings = opened.settings.model_copy(update={"trainer": trainer})
    loaded = replace(opened, settings=settings).predictor
    loaded.model.cpu()
    return loaded


def _write(
    place: Path,
    encoder: PreTrainedModel,
    tasks: Sequence[Task],
    loaded: TextModel,
    opened: OpenedRun,
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
    save_tokenizer(tokenizer, place)
    if pooling != "pooler":
        write_sentence_transformers(place, pooling, loaded.model.features)
    heads = {
        f"{task.name}.{part}": tensor.contiguous()
        for task in tasks
        for part, tensor in loaded.model.heads[task.name].state_dict().items()
    }
    save_file(heads, place / WEIGHTS)
    switched = loaded.model.switched
    if isinstance(switched, TaskAdapters):
        own = {task.name: switched.modules[task.name] for task in tasks}
        save_file(nn.ModuleDict(own).state_dict(), place / FILE)
    about = describe(
        opened,
        loaded,
        tasks,
        adapter=asdict(switched.shape) if isinstance(switched, TaskAdapters) else None,
        features=FORMULAS[pooling],
        loader="AutoModelForTextEncoding"  # T5's encoder without its decoder
        if type(encoder).__name__.endswith("EncoderModel")
        else "AutoModel",
        peft=(SHARED if adapter.kind == "lora" else "TASK") if apart else None,
    )
    write_heads(place, about)
    write_card(place, about, "encoder")


def load(directory: str | Path, *, trust: str | Path | None = None) -> TextModel:
    """The model of a run, or of a directory that ``mtl-bert export`` made, ready to answer.

        model = mtl_bert.load("my-model")
        model.predict("sst", ["A fine film.", "A dull one."])

    Args:
        directory: the run's folder, or the directory with heads.json in it.
        trust: the run's folder again, where its configuration may call classes of your own.

    Raises:
        UserError: a directory of another kind, a damaged one, or code that is not trusted.
    """
    path = Path(directory)
    if not (path / HEADS).is_file() and (path / "config.yaml").is_file():
        return OpenedRun.open(path, trust=trust).predictor
    try:
        about = json.loads((path / HEADS).read_text("utf-8"))
        if about["format"] != FORMAT or about["peft"]:  # LoRA's changes would be missing
            raise ValueError(f"format {about['format']}, adapters apart: {about['peft']}")
        tasks, cross_encode = [], True
        for name, told in about["heads"].items():
            made = {key: told[key] for key in ("names", "low", "high") if key in told}
            head: Any = READABLE[told["type"]](**made)
            # Nobody trains or scores it here, so that its loss and metric are anything.
            cut = {"max_length": told.get("max_length")}
            tasks.append(Task(name, told["pair"], head, nn.Identity(), metric=MeanMetric, **cut))
            cross_encode &= told.get("pairs", "joint") == "joint"
        weights = load_file(path / WEIGHTS)
        source = Pretrained(str(path), local=True)
        (pooling,) = (kind for kind, way in FORMULAS.items() if way == about["features"])
        adapter = Adapter(**about["adapter"]) if about["adapter"] else None
        model = MultiTaskModel(
            tasks, source, cross_encode=cross_encode, pooling=pooling, adapter=adapter
        )
        model.heads.load_state_dict(weights)
        if adapter is not None:
            model.adapters.load_state_dict(load_file(path / FILE))
        tokenize = Tokenize(source.tokenizer(), int(about["max_length"]), cross_encode)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        inside = sorted(each.parent.name for each in path.glob(f"*/{HEADS}"))
        found = f"one for each of {', '.join(inside)}" if inside else first_line(error)
        raise UserError(
            f"{path}: expected a run's folder or the directory that mtl-bert export RUN OUT makes, "
            f"found {found}; write {path / inside[0] if inside else 'another'}"
        ) from error
    if torch.cuda.is_available():  # where padding is faster
        model.cuda()
    else:
        model.pack()
    model.eval()
    return TextModel(model, tokenize)


def export_classifier(opened: OpenedRun, name: str, out: Path) -> None:
    """Write one task's model as a directory for ``AutoModelForSequenceClassification``.

    Its logits are ours; of a yes or no, whose head has one logit, the other class's is 0.

    Raises:
        UserError: a head or an encoder for which transformers has no such form.
    """
    loaded = unpacked(opened)
    task = loaded.model.tasks[opened.known(name)]
    if type(task.head) not in READABLE.values() or (task.pair and not loaded.tokenize.cross_encode):
        kind = type(task.head).__name__
        found = "pairs whose texts are encoded alone" if kind in READABLE else f"a {kind} head"
        raise UserError(
            "task: expected classes or a number, of a text or a pair that is read together, found "
            f"{found}, for which transformers has no form; leave it out to export all heads"
        )
    _refuse_layers(loaded.model, [name])
    classifier = as_classifier(loaded.model, task)
    with creating(out) as place:
        classifier.save_pretrained(place)
        write_tokenizer(place, loaded, task.max_length)
        write_card(place, describe(opened, loaded, [task]), "classifier")


def _refuse_layers(model: MultiTaskModel, names: Sequence[str]) -> None:
    """Raise UserError for a head that is more than a linear layer, whose form others know."""
    for name in names:
        if not isinstance(model.heads[name], nn.Linear):
            raise UserError(
                f"to: expected heads of one linear layer each, found {name}'s with more; write "
                "--to onnx, which has all layers"
            )


def as_classifier(model: MultiTaskModel, task: Task) -> PreTrainedModel:
    """A task's encoder and head as the kind of model that transformers has for its family.

    UserError, unless that gives the same logits on a sample.
    """
    encoder, head, kind = model.encoder_of(task.name), task.head, model.adapter.kind
    number, several = isinstance(head, Regression), isinstance(head, MultiLabel)
    if model.adapter.is_lora:
        encoder = copy.deepcopy(encoder)
        merge(encoder, task.name if kind == "lora_per_task" else SHARED)
    config = copy.deepcopy(encoder.config)
    config.id2label = dict(enumerate([task.name] if number else head.names))
    config.label2id = {label: at for at, label in config.id2label.items()}
    config.problem_type = "multi_label_classification" if several else "single_label_classification"
    if number:
        config.problem_type = "regression"
    try:
        auto: Any = AutoModelForSequenceClassification
        made: PreTrainedModel = auto.from_config(config, dtype=encoder.dtype).eval()
        made.base_model.load_state_dict(encoder.state_dict(), strict=False)
        weight, bias = (_as_logits(task, p) for p in model.heads[task.name].parameters())
        _put_head(made, encoder, weight.detach(), bias.detach())
        same = _agree(model, task, made)
    except (ValueError, RuntimeError, TypeError, AttributeError, IndexError):
        same = False
    if not same:
        pooler = getattr(encoder, "pooler", None) is not None
        fitting = "pooler" if pooler else "cls (of DistilBERT, ELECTRA and DeBERTa)"
        raise UserError(
            "task: expected an encoder whose classifier in transformers can be a linear head on "
            f"its features, found {type(encoder).__name__} (pooling={model.pooling.kind}, "
            f"adapter={kind}), whose cannot; write --to onnx, "
            + ("" if model.switched else f"train with model.pooling={fitting}, ")
            + "or leave it out to export all heads"
        )
    return made


def _as_logits(task: Task, values: Tensor) -> Tensor:
    """Of one logit for yes, one for each of no, which is 0, and yes: along the first dimension."""
    return (
        torch.cat([torch.zeros_like(values), values]) if isinstance(task.head, Binary) else values
    )


def _put_head(made: PreTrainedModel, encoder: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Give a classifier a linear head on the encoder's features: weight [C, D], bias [C]."""
    inside = set(made.base_model.modules())
    *before, last = (p for p in made.modules() if isinstance(p, nn.Linear) and p not in inside)
    pooler: Any = getattr(getattr(encoder, "pooler", None), "dense", None)
    if before and pooler is not None:  # RoBERTa's keeps the pooler itself
        before[0].load_state_dict(pooler.state_dict())
    elif before:
        # A layer with ReLU or GELU lies between: x = ReLU(x) − ReLU(−x), and GELU likewise.
        C = len(bias)
        both = torch.cat([weight, -weight]), torch.cat([bias, -bias])
        one = torch.eye(C, dtype=weight.dtype)
        for parameter, part in zip(before[0].parameters(), both, strict=True):
            parameter.data.zero_()[: 2 * C] = part
        weight, bias = torch.zeros_like(last.weight), torch.zeros_like(bias)
        weight[:, : 2 * C] = torch.cat([one, -one], 1)
    last.load_state_dict({"weight": weight, "bias": bias})


@torch.inference_mode()
def _agree(model: MultiTaskModel, task: Task, made: PreTrainedModel) -> bool:
    batch = sample(model.encoder_of(task.name), SAMPLE)
    ours = _as_logits(task, model(task.name, batch).reshape(len(batch), -1).T).T
    ids = batch.padded(batch.input_ids, int(made.config.pad_token_id or 0))
    theirs = made(input_ids=ids, attention_mask=batch.mask.long()).logits
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=TOLERANCE)
