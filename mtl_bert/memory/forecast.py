"""The memory of a run that is only planned, in lines for people."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mtl_bert.config.settings import Settings
from mtl_bert.data import Table
from mtl_bert.data.batch import Batch
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.machine.hardware import on_gpu, resolved
from mtl_bert.memory.estimate import Estimate, estimate
from mtl_bert.memory.work import Work
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.text_model import make_text_model
from mtl_bert.tasks import Task

MEBI = 2**20
HELD = 1.25  # of a step's tensors on CPUs: glibc's malloc keeps freed memory (benchmarks/README.md)
LOOKED_AT = 1000  # texts of a task, those with most characters: to encode all takes far longer


def forecast(settings: Settings, tables: Mapping[str, Table], works: Sequence[Work]) -> list[str]:
    """What a run takes, or why that is not known; no weights are read and none are made.

    Args:
        settings: the run's.
        tables: the tasks' training sets, for the lengths of their texts.
        works: what there is to be done.
    """
    try:
        return _forecast(settings, tables, works)
    except Exception as error:  # encoders are anybody's, and what is asked for is the plan
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return [f"memory not estimated: {reason}"]


def _forecast(settings: Settings, tables: Mapping[str, Table], works: Sequence[Work]) -> list[str]:
    settings, tasks = resolved(settings), make_tasks(settings)
    source = make(settings.model.source)
    wanted = settings.trainer
    device = torch.device("cuda" if on_gpu(wanted.accelerator) else "cpu")
    with torch.device("meta"):
        text_model = make_text_model(settings, tasks, source)
    lengths = longest_texts(text_model.tokenize, tables)
    with FakeTensorMode(allow_non_fake_inputs=True):
        text_model.model.to_empty(device=device)

        def batch_of(task: str, count: int) -> Batch:
            known = text_model.model.tasks[task]
            return _batch(text_model.tokenize, known, lengths[task], count).to(device)

        found = estimate(
            text_model.model,
            works,
            batch_of,
            make(settings.optimizer),
            eval_batch_size=wanted.eval_batch_size,
            precision=wanted.precision,
            processes=settings.processes,
        )
    return _lines(found, settings, works, lengths, device)


def longest_texts(tokenize: Tokenize, tables: Mapping[str, Table]) -> dict[str, int]:
    """Tokens of each task's longest sequence, among the texts with most characters."""
    longest = {}
    for task, table in tables.items():
        characters = np.array([sum(map(len, texts)) for texts in table.texts])
        some = table.take(np.argsort(-characters, kind="stable")[:LOOKED_AT])
        longest[task] = int(np.diff(tokenize(some).offsets).max())
    return longest


def _batch(tokenize: Tokenize, task: Task, tokens: int, count: int) -> Batch:
    """Examples of one length; what they say makes no difference."""
    per_example = 2 if task.pair and not tokenize.cross_encode else 1
    sequences = count * per_example
    segments = "token_type_ids" in tokenize.tokenizer.model_input_names
    return Batch.of(
        np.full(sequences, tokens),
        np.zeros(sequences * tokens, np.int64),
        np.zeros(sequences * tokens, np.int64) if segments else None,
        torch.zeros(count, dtype=task.head.label_type),
        np.arange(count),
        per_example,
        tokenize.pad_token_id,
    )


def _lines(
    found: Estimate,
    settings: Settings,
    works: Sequence[Work],
    lengths: Mapping[str, int],
    device: torch.device,
) -> list[str]:
    each = f", each of {settings.processes} processes" if settings.processes > 1 else ""
    state = "optimizer state" + ("" if found.optimizer_known else ", if like AdamW's")
    rows = max((len(work.examples) for work in works), default=0)
    largest = "nothing is trained"
    if found.largest is not None:
        task, count = found.largest
        largest = f"{count} of {task} at once, {lengths[task]} tokens each"
    items = [
        ("parameters", found.parameters, ""),
        (state, found.optimizer, ""),
        ("task gradients", found.gradients, f"{rows} rows" if rows != 1 else "1 row"),
        ("combined gradient", found.combined, "tables of embeddings; the rest is in a row"),
        ("activations", found.activations, largest),
        ("in a step, at most", found.step, "not all of the above is there at once"),
        *([("as malloc holds it", HELD * found.step, "about")] if device.type == "cpu" else []),
        ("in a validation", found.validation, f"{settings.trainer.eval_batch_size} examples"),
        ("there is", _installed(device), "the program and its data take some of it, too"),
    ]
    texts = ", ".join(f"{task} {tokens}" for task, tokens in lengths.items())
    return [
        f"memory, estimated in MiB: {_name(device)}, {settings.trainer.precision}{each}; "
        f"tokens of the longest texts: {texts} (of the {LOOKED_AT:,} with most characters)",
        *(f"  {name:<28}{count / MEBI:>12,.1f}  {more}".rstrip() for name, count, more in items),
    ]


def _name(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def _installed(device: torch.device) -> int:
    """Bytes that the device has in all."""
    if device.type == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return torch.cuda.get_device_properties(device).total_memory
