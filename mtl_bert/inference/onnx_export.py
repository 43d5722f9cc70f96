"""A run's model as one ONNX file with all heads, compared with PyTorch on the dev set.

Shapes: B texts or pairs, T tokens of the longest.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl_bert.data.batch import Tokenized
from mtl_bert.data.table import Encoded
from mtl_bert.inference.card import describe, write_card, write_heads, write_tokenizer
from mtl_bert.inference.transformers_export import unpacked
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.factories import make_corpus, make_selections
from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.runs.text_model import BATCH, TextModel
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import creating

NEEDED = ("onnx", "onnxruntime", "onnxscript")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-3  # between an output in float32 and the same by PyTorch; rounding makes 1e-5


@dataclass(frozen=True)
class Check:
    """What the file's answers to a task's dev set are like."""

    n: int  # examples
    difference: float  # from PyTorch's outputs at most, before quantization
    before: float  # the metric, by PyTorch
    after: float  # the metric, by the file


def export_onnx(
    opened: OpenedRun, out: Path, names: Sequence[str] | None = None, quantize: str | None = None
) -> list[str]:
    """Write a directory with the file, the tokenizer, heads.json and a card.

    Args:
        names: the tasks whose heads are its outputs; None stands for all.
        quantize: int8 stores the weights so, with which they are multiplied as integers.

    Returns:
        For each task how far the file's answers are from the model's.

    Raises:
        UserError: something to do it with is missing, dev sets that cannot be had, pairs whose
            texts are encoded alone, or outputs that differ.
    """
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise UserError(
            f"to: expected {', '.join(NEEDED)}, found no {missing[0]}; write "
            "pip install 'mtl-bert[onnx]'"
        )
    loaded = unpacked(opened)
    loaded = replace(loaded, model=loaded.model.float(), half=None)
    tasks = [task for name, task in loaded.model.tasks.items() if names is None or name in names]
    if (pairs := [t.name for t in tasks if t.pair]) and not loaded.tokenize.cross_encode:
        single = next((t.name for t in loaded.model.tasks.values() if not t.pair), None)
        raise UserError(
            f"task: expected texts or pairs that are read together, found {pairs[0]}, whose texts "
            f"are encoded alone; write {f'task={single}' if single else '--to transformers'}"
        )
    dev = _dev(opened, loaded, tasks)
    file = "model_int8.onnx" if quantize else "model.onnx"
    with creating(out) as place:
        whole = place / "model.onnx"
        _write(loaded, tasks, whole)
        ours = {
            task.name: loaded.outputs_of([task.name], dev[task.name])[task.name] for task in tasks
        }
        theirs = answers_of(whole, loaded, dev)
        difference = {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}
        if (worst := max(difference.values())) > TOLERANCE:
            raise UserError(
                f"to: expected the outputs of PyTorch to {TOLERANCE:g} by onnxruntime, found "
                f"{worst:.2g}; write --to transformers"
            )
        if quantize:
            _quantize(whole, place / file)
            whole.unlink()
            theirs = answers_of(place / file, loaded, dev)
        checks = {}
        for task in tasks:
            labels = torch.from_numpy(dev[task.name].labels).to(task.head.label_type)
            labels = task.head.targets(labels)
            metric = next(iter(task.metrics))  # of several the first
            before, after = (
                task.evaluate(task.reads[metric](outputs[task.name]), labels, metric)[0]
                for outputs in (ours, theirs)
            )
            checks[task.name] = Check(len(labels), difference[task.name], before, after)
        about = describe(opened, loaded, tasks)
        write_tokenizer(place, loaded)
        write_heads(place, about)
        write_card(place, about, "onnx", file=file, int8=bool(quantize), checks=checks)
    return [
        f"{task.name}: outputs at most {check.difference:.1e} from PyTorch's on {check.n:,} dev "
        f"examples; {next(iter(task.metrics))} {check.before:.4f}"
        + (f", with int8 weights {check.after:.4f}" if quantize else "")
        for task, check in zip(tasks, checks.values(), strict=True)
    ]


def _dev(opened: OpenedRun, loaded: TextModel, tasks: Sequence[Task]) -> dict[str, Encoded]:
    """The tokens of the dev sets that the run was scored on."""
    corpus = make_corpus(opened.settings, list(loaded.model.tasks.values()))
    tables = make_selections(opened.settings)["dev"].of(corpus.read("dev"))
    return {t.name: loaded.tokenize.up_to(t.max_length)(tables[t.name]) for t in tasks}


@dataclass
class _Padded:
    """A batch in the padded form alone, which is what a graph is made of."""

    input_ids: Tensor  # [B, T]
    mask: Tensor  # [B, T]
    token_type_ids: Tensor | None  # [B, T]
    per_example = 1

    @property
    def sequences(self) -> int:
        """B."""
        return self.input_ids.shape[0]

    @property
    def max_seqlen(self) -> int:
        """T."""
        return self.input_ids.shape[1]

    def padded(self, values: Tensor, fill: int) -> Tensor:
        """The same, as it is padded."""
        return values


class _Graph(nn.Module):
    """Some heads' outputs, of tensors as tokenizers give them: [B, T] each."""

    def __init__(self, model: MultiTaskModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        batch: Any = _Padded(input_ids, attention_mask.bool(), token_type_ids)
        return tuple(self.model.of_all(self.names, batch).values())


def _write(loaded: TextModel, tasks: Sequence[Task], path: Path) -> None:
    """Trace the model with two texts; numbers of texts and of tokens stay open."""
    known = loaded.tokenize.tokenizer.model_input_names
    inputs = [name for name in INPUTS if name in known or name == "attention_mask"]
    given = loaded.tokenize.tokenizer(["a b", "a"], padding=True, return_tensors="pt")
    names = [task.name for task in tasks]
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # of torchvision, which is not needed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Graph(loaded.model, names).eval(),
                tuple(given[name] for name in inputs),
                input_names=inputs,
                output_names=names,
                dynamic_shapes=tuple({0: "batch", 1: "length"} for _ in inputs),
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None
    program.save(str(path))


def _quantize(path: Path, to: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a preparation that is for images
    try:
        quantize_dynamic(path, to, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)


def answers_of(path: Path, loaded: TextModel, parts: Mapping[str, Encoded]) -> dict[str, Tensor]:
    """What a file gives for each task's N encoded rows, in their order: [N, ...] each."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = [each.name for each in session.get_inputs()]
    padding = int(loaded.tokenize.tokenizer.pad_token_id or 0)
    answers = {}
    for task, encoded in parts.items():
        found, rows = [], []
        for numbers in encoded.batches(BATCH):
            batch = Tokenized(encoded, torch.float32)[numbers]
            types = batch.token_type_ids
            ids, mask = batch.padded(batch.input_ids, padding), batch.mask.long()
            values = (ids, mask, mask if types is None else batch.padded(types, 0))
            feed = {name: value.numpy() for name, value in zip(INPUTS, values, strict=True)}
            found += session.run([task], {name: feed[name] for name in inputs})
            rows.append(numbers)
        order = np.concatenate(rows).argsort()
        answers[task] = torch.from_numpy(np.concatenate(found)[order])
    return answers
