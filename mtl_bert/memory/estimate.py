"""Estimate the most memory that a training step and a validation take, without any weights.

The step is taken on fake tensors, operator by operator. They have shapes and types, go through the
same operators and the same autograd as real ones, and have no memory. Not counted: the program
itself and its data, what kernels need inside, and what an allocator holds without using it.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtl_bert.config.settings import Settings
from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.table import Table
from mtl_bert.machine.hardware import on_gpu, resolved, usable_memory
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.text_model import AUTOCAST, make_text_model
from mtl_bert.sampling.usage import Work
from mtl_bert.surgery import GradientMatrix
from mtl_bert.surgery.freezing import frozen_names
from mtl_bert.training.build import mean_tokens
from mtl_bert.training.passes import passes
from mtl_bert.training.step import in_one_pass, losses_of
from mtl_bert.utils.errors import first_line

MEBI = 2**20
HELD = 1.25  # of a step's tensors on CPUs: glibc's malloc keeps freed memory (benchmarks/README.md)
LOOKED_AT = 1000  # texts of a task, those with most characters: to encode all takes far longer


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process: the most that there is of each thing, and of all at once."""

    parameters: int  # of the model, with its buffers
    optimizer: int  # its state
    optimizer_known: bool  # its own step was followed; else the state is taken to be AdamW's
    gradients: int  # the tasks' rows
    combined: int  # dense tables that sparse gradients are combined into; all else is in a row
    activations: int  # what autograd keeps of examples that go through the model at once
    largest: dict[str, int]  # the tasks with most of them, their examples; empty trains nothing
    step: int  # all at once, at most, in a training step
    validation: int  # the same in a validation


def estimate(
    model: MultiTaskModel,
    works: Sequence[Work],
    batch_of: Callable[[str, int], Batch],
    optimizer: Callable[[list[tuple[str, Parameter]]], Optimizer],
    *,
    eval_batch_size: int,
    precision: str = "32-true",
    processes: int = 1,
    one_pass: bool = False,
) -> Estimate:
    """Estimate the memory of one process.

    Args:
        model: as it is trained, of fake tensors.
        works: the kinds of steps that will be taken; none if the model is only evaluated.
        batch_of: a task and a number -> so many of its longest examples.
        optimizer: parameters -> optimizer.
        eval_batch_size: examples of a validation's batch.
        processes: how many average their rows, which then wait in a buffer.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    device = next(iter(parameters.values())).device
    model.set_sparse_gradients(device.type == "cpu")  # as training does
    tables = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Embedding) and part.sparse:
            # Which rows are the padding's and get no gradient fake tensors cannot tell: all count.
            part.padding_idx = None
            tables[f"{name}.weight"] = part.weight
    trained: set[str] = set()
    steps = []
    for work in works:
        frozen = frozen_names(work.frozen, [name for name, _ in model.named_parameters()])
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in frozen)
        free = [name for name in parameters if name not in frozen]
        trained |= {name for name in free for task in work.examples if model.reaches(task, name)}
        steps.append(rows_of_a_step(model, work, batch_of, precision, processes, one_pass))
    updated = [parameters[name] for name in sorted(trained)]
    state, scratch, known = optimizer_step(optimizer(list(parameters.items())), updated)
    combined = size(table for name, table in tables.items() if name in trained)
    fixed = size([*model.parameters(), *model.buffers()])
    held = fixed + state + combined
    kept = max((step.kept for step in steps), default=0)  # the combined gradient stays
    heaviest = max(steps, key=lambda step: step.activations, default=None)
    asked = (
        prediction_peak(model, t, batch_of(t, eval_batch_size), precision) for t in model.tasks
    )
    return Estimate(
        parameters=fixed,
        optimizer=state,
        optimizer_known=known,
        gradients=max((step.rows for step in steps), default=0),
        combined=combined,
        activations=heaviest.activations if heaviest else 0,
        largest=heaviest.largest if heaviest else {},
        step=held + max([kept + scratch, *(step.peak for step in steps)]),
        validation=held + kept + max(asked),
    )


def computing(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a step of such a precision computes."""
    return torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)


class StepRows(NamedTuple):
    """What the tasks' rows of a step take, in bytes."""

    rows: int  # all gradients together
    kept: int  # of which stay until the next step
    activations: int  # most that autograd keeps at once
    largest: dict[str, int]  # the tasks with most activations, and how many examples
    peak: int  # the most at once, until the rows are combined


def rows_of_a_step(
    model: MultiTaskModel,
    work: Work,
    batch_of: Callable[[str, int], Batch],
    precision: str,
    processes: int = 1,
    one_pass: bool = False,
) -> StepRows:
    """Take every task of a step forward and backward, counting; frozen is what is in such a step.

    Several processes copy each row into a buffer of all; the rows of one pass are about as large.
    """
    there = [*model.parameters(), *model.buffers()]
    matrix = GradientMatrix([p for p in model.parameters() if p.requires_grad])
    batches = {task: batch_of(task, count) for task, count in work.examples.items()}
    together = one_pass and len(batches) > 1
    live, rows = LiveBytes(there), dict[str, list[Tensor]]()
    sizes, activations = dict[tuple[str, ...], int](), dict[tuple[str, ...], int]()
    model.train()
    with computing(there[0].device, precision), live:
        for tasks in [tuple(batches)] if together else [(task,) for task in batches]:
            some = {task: batches[task] for task in tasks}
            for _ in range(min(work.parts, 2)):  # a third takes no more than the second
                before = live.now
                with in_one_pass(matrix, model, some):
                    losses = losses_of(model, some)
                    activations[tasks] = live.now - before
                    if together:
                        matrix.add_together(losses, dict.fromkeys(tasks, 1.0))
                    else:
                        matrix.add(*losses.popitem())
                del losses
                found = [[e for e in row if e is not None] for row in matrix.take().rows]
                sizes[tasks] = size(entry for row in found for entry in row)
                if not together and tasks[0] in rows:
                    found = [[a + b for a, b in zip(rows[tasks[0]], found[0], strict=True)]]
                if together or processes == 1:
                    rows |= zip(tasks, found, strict=True)
                del found
        # Touched rows of embeddings are made unique, and then brought to those of all tasks.
        touched = size(entry for row in rows.values() for entry in row if entry.is_sparse)
        combining = live.now + 2 * touched
    buffered, total = processes > 1 and not together, sum(sizes.values())
    largest = max(activations, key=lambda tasks: activations[tasks])
    return StepRows(
        rows=total,
        kept=total if buffered else max(sizes.values()),
        activations=activations[largest],
        largest={task: work.examples[task] for task in largest},
        peak=live.peak + total if buffered else max(live.peak, combining),
    )


def prediction_peak(model: MultiTaskModel, task: str, batch: Batch, precision: str) -> int:
    """The most bytes at once while a batch is predicted, besides the model's own."""
    there = [*model.parameters(), *model.buffers()]
    live = LiveBytes(there)
    model.eval()
    with torch.inference_mode(), computing(there[0].device, precision), live:
        model(task, batch)
    return live.peak


def optimizer_step(optimizer: Optimizer, trained: Sequence[Parameter]) -> tuple[int, int, bool]:
    """Take an optimizer's first step, in which some parameters have gradients, counting.

    Returns:
        Bytes of its state, those that a step needs besides, and whether its own step was followed;
        else the state is taken to be AdamW's.
    """
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    groups = (group["params"] for group in optimizer.param_groups)
    live = LiveBytes([p for group in groups for p in group] + [p.grad for p in trained])
    known = True
    try:
        with live:
            optimizer.step()
    except RuntimeError:  # perhaps it looks at numbers, of which there are none here
        known = all(parameter in optimizer.state for parameter in trained)
    for parameter in trained:
        parameter.grad = None
    if not known:
        return 2 * size(trained), 0, known
    state = size(value for of in optimizer.state.values() for value in of.values())
    return state, max(0, live.peak - state), known


def _storages(tensors: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """The storages of some tensors, each once; a sparse tensor has two, its indices and values."""
    dense: list[Tensor] = []
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            dense += [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]
    found = (tensor.untyped_storage() for tensor in dense)
    return {storage._cdata: storage for storage in found}


def size(tensors: Iterable[Any]) -> int:
    """Bytes of some tensors together; tensors that share a storage count once."""
    return sum(storage.nbytes() for storage in _storages(tensors).values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that were made under it: now, and most at once.

    Those that are ``known``, as they existed before, do not count.
    """

    def __init__(self, known: Iterable[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = set(_storages(known))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operator and count what it made."""
        made = func(*args, **(kwargs or {}))
        for key, storage in _storages(tree_leaves(made)).items():
            if key not in self._seen:
                self._seen.add(key)
                weakref.finalize(storage, self._freed, key, storage.nbytes())
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, key: int, count: int) -> None:
        self._seen.discard(key)
        self.now -= count


def forecast(settings: Settings, tables: Mapping[str, Table], works: Sequence[Work]) -> list[str]:
    """What a run takes of memory, or why that is not known, in lines for people."""
    try:
        return _forecast(resolved(settings), tables, works)
    except Exception as error:  # encoders are anybody's, and what is asked for is the plan
        return [f"memory not estimated: {first_line(error)}"]


def _forecast(settings: Settings, tables: Mapping[str, Table], works: Sequence[Work]) -> list[str]:
    wanted, source = settings.trainer, make(settings.model.source, "model.source")
    device = torch.device("cuda" if on_gpu(wanted.accelerator) else "cpu")
    with torch.device("meta"):
        text_model = make_text_model(settings, make_tasks(settings), source)
    model = text_model.model
    tokenizes = {task: text_model.tokenize.up_to(model.tasks[task].max_length) for task in tables}
    longest = {}
    for task, table in tables.items():
        characters = [-sum(map(len, texts)) for texts in table.texts]
        longest[task] = tokenizes[task](
            table.take(np.argsort(characters, kind="stable")[:LOOKED_AT])
        )
    lengths = {task: np.diff(encoded.offsets) for task, encoded in longest.items()}
    # Spread over a training set, so that the mean is about the one that a run will find.
    some = {
        task: tokenizes[task](table.take(np.linspace(0, len(table) - 1, LOOKED_AT).astype(int)))
        for task, table in tables.items()
    }
    one_pass = passes(wanted, model, settings.batch_size * mean_tokens(some)).one

    def batch_of(task: str, count: int) -> Batch:
        """The example with the longest sequence, so many times."""
        row, label_type = lengths[task].argmax(), model.tasks[task].head.label_type
        rows = np.full(count, row // longest[task].per_example)
        return Tokenized(longest[task], label_type)[rows].to(device)

    def estimated(one_pass: bool) -> Estimate:
        return estimate(
            model,
            works,
            batch_of,
            make(settings.optimizer, "optimizer"),
            eval_batch_size=wanted.eval_batch_size,
            precision=wanted.precision,
            processes=settings.processes,
            one_pass=one_pass,
        )

    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device=device)
        try:
            found = estimated(one_pass)
        except RuntimeError:  # as a run finds out by the weights, which are not here
            if not one_pass:
                raise
            one_pass, found = False, estimated(False)
    each = f", each of {settings.processes} processes" if settings.processes > 1 else ""
    texts = ", ".join(f"{task} {tokens.max()}" for task, tokens in lengths.items())
    guessed = "" if found.optimizer_known else ", if like AdamW's"
    rows = max((len(work.examples) for work in works), default=0)
    largest = " and ".join(
        f"{count} of {task}, {lengths[task].max()} tokens each"
        for task, count in found.largest.items()
    )
    name, installed = "CPU", usable_memory()
    held = [("as malloc holds it", HELD * found.step, "about")]
    if device.type != "cpu":
        name, held = torch.cuda.get_device_name(device), []
        installed = torch.cuda.get_device_properties(device).total_memory
    items = [
        ("parameters", found.parameters, ""),
        (f"optimizer state{guessed}", found.optimizer, ""),
        ("task gradients", found.gradients, f"{rows} rows" if rows != 1 else "1 row"),
        ("combined gradient", found.combined, "tables of embeddings; the rest is in a row"),
        ("activations", found.activations, largest or "nothing is trained"),
        ("in a step, at most", found.step, "not all of the above is there at once"),
        *held,
        ("in a validation", found.validation, f"{wanted.eval_batch_size} examples"),
        ("there is", installed, "the program and its data take some of it, too"),
    ]
    return [
        f"memory, estimated in MiB: {name}, {wanted.precision}{each}; "
        f"tokens of the longest texts: {texts} (of the {LOOKED_AT:,} with most characters)",
        *(f"  {item:<28}{count / MEBI:>12,.1f}  {more}".rstrip() for item, count, more in items),
    ]
