"""The memory of a run that is only planned, in lines for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mtl_bert.config.settings import Settings
from mtl_bert.data.batch import Batch
from mtl_bert.data.table import Table
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.machine.hardware import on_gpu, resolved, usable_memory
from mtl_bert.memory.estimate import Estimate, estimate
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.text_model import make_text_model
from mtl_bert.tasks import Task
from mtl_bert.training.build import mean_tokens
from mtl_bert.training.passes import passes
from mtl_bert.utils.errors import first_line

if TYPE_CHECKING:
    from mtl_bert.sampling.usage import Work

MEBI = 2**20
HELD = 1.25  # of a step's tensors on CPUs: glibc's malloc keeps freed memory (benchmarks/README.md)
LOOKED_AT = 1000  # texts of a task, those with most characters: to encode all takes far longer


def forecast(settings: Settings, tables: Mapping[str, Table], works: "Sequence[Work]") -> list[str]:
    """What a run takes, or why that is not known; no weights are read and none are made.

    Args:
        settings: the run's.
        tables: the tasks' training sets, for the lengths of their texts.
        works: what there is to be done.
    """
    try:
        return _forecast(resolved(settings), tables, works)
    except Exception as error:  # encoders are anybody's, and what is asked for is the plan
        return [f"memory not estimated: {first_line(error)}"]


def _forecast(
    settings: Settings, tables: Mapping[str, Table], works: "Sequence[Work]"
) -> list[str]:
    wanted, source = settings.trainer, make(settings.model.source, "model.source")
    device = torch.device("cuda" if on_gpu(wanted.accelerator) else "cpu")
    with torch.device("meta"):
        text_model = make_text_model(settings, make_tasks(settings), source)
    model, tokenize = text_model.model, text_model.tokenize
    lengths = {task: _longest(tokenize, table) for task, table in tables.items()}
    # Spread over a training set, so that the mean is about the one that a run will find.
    some = {
        task: tokenize(table.take(np.linspace(0, len(table) - 1, LOOKED_AT).astype(int)))
        for task, table in tables.items()
    }
    one_pass = passes(wanted, model, settings.batch_size * mean_tokens(some)).one
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device=device)
        found = estimate(
            model,
            works,
            lambda task, n: _batch(tokenize, model.tasks[task], lengths[task], n).to(device),
            make(settings.optimizer, "optimizer"),
            eval_batch_size=wanted.eval_batch_size,
            precision=wanted.precision,
            processes=settings.processes,
            one_pass=one_pass,
        )
    each = f", each of {settings.processes} processes" if settings.processes > 1 else ""
    texts = ", ".join(f"{task} {tokens}" for task, tokens in lengths.items())
    name = "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    items = _items(found, works, lengths, device, wanted.eval_batch_size)
    return [
        f"memory, estimated in MiB: {name}, {wanted.precision}{each}; "
        f"tokens of the longest texts: {texts} (of the {LOOKED_AT:,} with most characters)",
        *(f"  {name:<28}{count / MEBI:>12,.1f}  {more}".rstrip() for name, count, more in items),
    ]


def _longest(tokenize: Tokenize, table: Table) -> int:
    """Tokens of a task's longest sequence, among the texts with most characters."""
    characters = np.array([sum(map(len, texts)) for texts in table.texts])
    some = table.take(np.argsort(-characters, kind="stable")[:LOOKED_AT])
    return int(np.diff(tokenize(some).offsets).max())


def _batch(tokenize: Tokenize, task: Task, tokens: int, count: int) -> Batch:
    """Examples of one length; what they say makes no difference."""
    sequences = 2 * count if task.pair and not tokenize.cross_encode else count
    segments = "token_type_ids" in tokenize.tokenizer.model_input_names
    return Batch.of(
        np.full(sequences, tokens),
        np.zeros(sequences * tokens, np.int64),
        np.zeros(sequences * tokens, np.int64) if segments else None,
        torch.zeros(count, dtype=task.head.label_type),
        np.arange(count),
    )


def _items(
    found: Estimate,
    works: "Sequence[Work]",
    lengths: Mapping[str, int],
    device: torch.device,
    eval_batch_size: int,
) -> list[tuple[str, float, str]]:
    """What takes memory, how many bytes, and what there is to say of it."""
    state = "optimizer state" + ("" if found.optimizer_known else ", if like AdamW's")
    rows = max((len(work.examples) for work in works), default=0)
    largest = "nothing is trained"
    if found.largest:
        largest = " and ".join(
            f"{count} of {task}, {lengths[task]} tokens each"
            for task, count in found.largest.items()
        )
    if device.type == "cpu":
        installed = usable_memory()
    else:
        installed = torch.cuda.get_device_properties(device).total_memory
    return [
        ("parameters", found.parameters, ""),
        (state, found.optimizer, ""),
        ("task gradients", found.gradients, f"{rows} rows" if rows != 1 else "1 row"),
        ("combined gradient", found.combined, "tables of embeddings; the rest is in a row"),
        ("activations", found.activations, largest),
        ("in a step, at most", found.step, "not all of the above is there at once"),
        *([("as malloc holds it", HELD * found.step, "about")] if device.type == "cpu" else []),
        ("in a validation", found.validation, f"{eval_batch_size} examples"),
        ("there is", installed, "the program and its data take some of it, too"),
    ]
