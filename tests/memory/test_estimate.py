"""The estimate against models, steps and optimizers that are there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from mtl_bert.data.batch import Batch
from mtl_bert.memory.estimate import (
    Estimate,
    StepRows,
    estimate,
    optimizer_step,
    prediction_peak,
    rows_of_a_step,
)
from mtl_bert.model import MultiTaskModel, Tiny, multitask
from mtl_bert.model.adapters import Adapter
from mtl_bert.sampling import Epoch, Phase, Step
from mtl_bert.sampling.loader import parts_of
from mtl_bert.sampling.usage import Largest, Work
from mtl_bert.surgery import GradientMatrix
from tests.factories import make_task

SMALL = Tiny(
    {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
)
ADAMW = partial(torch.optim.AdamW, fused=True)


def batch(examples: int, tokens: int, shortest: int | None = None) -> Batch:
    """Examples of one length, or the first of them shorter."""
    lengths, labels = np.full(examples, tokens), torch.zeros(examples)
    lengths[0] = shortest or tokens
    words = np.full(lengths.sum(), 7)
    return Batch.of(lengths, words, 0 * words, labels, np.arange(examples))


def make_model(K: int = 2, **settings: Any) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel([make_task(f"task{k}") for k in range(K)], SMALL, **settings)


@contextmanager
def without_memory(K: int = 2, packs: bool = False, **settings: Any) -> Iterator[MultiTaskModel]:
    with torch.device("meta"):
        model = make_model(K, **settings)
    assert not packs or model.pack()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield model.to_empty(device="cpu")


def estimated(works: list[Work], K: int = 2, tokens: int = 20, **settings: Any) -> Estimate:
    per_task = settings.pop("encoder_per_task", False)
    with without_memory(K, encoder_per_task=per_task) as model:
        chosen = {"optimizer": ADAMW, "eval_batch_size": 4, **settings}
        return estimate(model, works, lambda _, count: batch(count, tokens), **chosen)


def nbytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def train_a_step(model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> None:
    for task in model.tasks:
        model(task, batch(3, 8)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("optimizer", "per_task"),
    [
        (ADAMW, False),
        (ADAMW, True),
        (torch.optim.AdamW, False),
        (partial(torch.optim.AdamW, foreach=True), False),
        (partial(torch.optim.AdamW, amsgrad=True), False),
        (partial(torch.optim.SGD, lr=0.1), True),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), False),
        (torch.optim.Adafactor, False),
        (torch.optim.Adafactor, True),
    ],
)
def test_parameters_and_optimizer_are_the_real_ones(
    optimizer: Callable[..., Any], per_task: bool
) -> None:
    model = make_model(encoder_per_task=per_task)
    made = optimizer(model.parameters())
    train_a_step(model, made)
    state = [v for of in made.state.values() for v in of.values() if isinstance(v, torch.Tensor)]
    kinds = [Work((), {"task0": 3}), Work((), {"task1": 3})]
    found = estimated(kinds, optimizer=optimizer, encoder_per_task=per_task)
    assert found.parameters == nbytes([*model.parameters(), *model.buffers()])
    assert (found.optimizer, found.optimizer_known) == (nbytes(state), True)


def test_what_is_never_trained_has_no_state_and_no_gradient() -> None:
    model = make_model(1)
    head = nbytes(model.heads.parameters())
    found = estimated([Work(("encoder.*",), {"task0": 3})], K=1)
    scalars = 4 * 2  # each parameter's count of steps
    assert (found.gradients, found.optimizer) == (head, 2 * head + scalars)


def test_an_optimizer_that_looks_at_numbers_is_taken_for_adamw() -> None:
    class Curious(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                float(group["params"][0].sum())

    with without_memory() as model:
        parameters = list(model.parameters())
        found = optimizer_step(Curious(parameters, lr=0.1), parameters[:3])
        expected = 2 * nbytes(parameters[:3])
    assert found == (expected, 0, False)


# Any two choices meet in one of these.
@pytest.mark.parametrize(
    ("precision", "table", "packs", "dropout", "one_pass"),
    [
        ("32-true", "sparse", False, 0.1, False),
        ("32-true", "dense", True, 0.0, True),
        ("bf16-mixed", "dense", True, 0.1, False),
        ("bf16-mixed", "sparse", False, 0.0, True),
        ("16-mixed", "sparse", True, 0.1, False),
        ("16-mixed", "dense", False, 0.0, True),
    ],
)
def test_a_step_of_fake_tensors_takes_what_a_real_one_does(
    precision: str,
    dropout: float,
    table: str,
    packs: bool,
    one_pass: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multitask, "LARGE_TABLE", 1000 if table == "sparse" else 10**9)

    def counted(model: MultiTaskModel) -> tuple[StepRows, int]:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
            if isinstance(module, torch.nn.Embedding):
                module.padding_idx = None
        model.set_sparse_gradients(True)
        # Ragged: where no text is padded, transformers leaves the mask out, after a look at it.
        work = Work((), {"task0": 5, "task1": 3}, parts=2)
        given = partial(batch, tokens=20, shortest=13)
        rows = rows_of_a_step(model, work, lambda _, n: given(n), precision, one_pass=one_pass)
        return rows, prediction_peak(model, "task0", batch(5, 20, shortest=13), precision)

    with without_memory(packs=packs) as model:
        fake = counted(model)
    there = make_model()
    assert not packs or there.pack()
    assert fake == counted(there)
    assert fake[0].activations > 100_000
    assert fake[0].largest == ({"task0": 5, "task1": 3} if one_pass else {"task0": 5})


@pytest.mark.parametrize(
    ("how", "packed"),
    [
        ({"adapter": Adapter("pals")}, False),
        ({"adapter": Adapter("pals")}, True),
        ({"adapter": Adapter("low_rank"), "freeze_encoder": True}, True),
        ({"freeze_encoder": True, "pooling": "mean"}, False),
        ({"adapter": Adapter("pals"), "gradient_checkpointing": True}, True),
    ],
    ids=["pals", "pals packed", "low rank alone", "heads alone", "computed again"],
)
def test_what_is_put_on_an_encoder_counts(how: dict[str, Any], packed: bool) -> None:
    """Packed, and in one pass for all tasks, or neither."""

    def counted(model: MultiTaskModel) -> StepRows:
        work, given = Work((), {"task0": 5, "task1": 3}), partial(batch, tokens=20, shortest=13)
        return rows_of_a_step(model, work, lambda _, n: given(n), "32-true", one_pass=packed)

    with without_memory(packs=packed, **how) as model:
        fake = counted(model)
    there = make_model(**how)
    assert not packed or there.pack()
    assert fake == counted(there)
    trained = {n: p for n, p in there.named_parameters() if p.requires_grad}
    reached = (p for n, p in trained.items() for t in there.tasks if there.reaches(t, n))
    assert fake.rows <= nbytes(reached)
    assert fake.rows >= nbytes(p for n, p in trained.items() if not n.startswith("encoder."))


def test_activations_are_what_real_autograd_packs_away() -> None:
    """Counted here by other means: real tensors, by where their bytes begin."""
    model = make_model(1)
    there = [*model.parameters(), *model.buffers()]
    anyway = {tensor.untyped_storage().data_ptr() for tensor in there}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    examples = batch(6, 20)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.tasks["task0"].loss(model("task0", examples), examples.labels)
    count = sum(t.untyped_storage().nbytes() for p, t in kept.items() if p not in anyway)
    loss.backward()
    # The batch is there anyway, and what the loss is made of just before it, too.
    count -= nbytes([examples.input_ids, examples.labels])
    assert estimated([Work((), {"task0": 6})], K=1).activations == pytest.approx(count, rel=0.01)


def test_more_examples_and_longer_ones_take_more() -> None:
    sizes = ((1, 4), (3, 4), (3, 20), (24, 20))  # examples, tokens
    found = [
        estimated([Work((), {"task0": n, "task1": n})], tokens=tokens, eval_batch_size=n)
        for n, tokens in sizes
    ]
    for few, many in pairwise(found):
        assert few.activations < many.activations
        assert few.step <= many.step
        assert few.validation < many.validation
        assert few.gradients <= many.gradients  # by the rows touched


def test_parts_halve_the_activations_of_a_step() -> None:
    whole, halves = (Largest(1, parts) for parts in (1, 2))
    for largest in (whole, halves):
        largest.see(Epoch(1, (Step(Phase("rr"), {"task0": np.arange(16)}),)))
    one, two = (estimated(largest.works()) for largest in (whole, halves))
    assert (one.largest, two.largest) == ({"task0": 16}, {"task0": 8})
    assert two.activations == pytest.approx(one.activations / 2, rel=0.03)


def test_several_processes_have_a_buffer_of_all_rows() -> None:
    work = [Work((), {"task0": 4, "task1": 4})]
    alone, together = estimated(work), estimated(work, processes=2)
    reached = nbytes(make_model().encoder.parameters()) + nbytes(
        make_model().heads["task0"].parameters()
    )
    assert together.gradients == 2 * reached
    assert together.step - alone.step >= reached


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1)),
    processes=st.integers(1, 3),
    accumulate=st.integers(1, 4),
)
def test_the_largest_part_is_one_that_some_process_takes(
    counts: list[dict[str, int]], processes: int, accumulate: int
) -> None:
    largest = Largest(processes, accumulate)
    steps = [Step(Phase("p"), {t: np.arange(n) for t, n in c.items()}) for c in counts]
    largest.see(Epoch(1, tuple(steps)))
    expected: dict[tuple[str, ...], dict[str, int]] = {}
    for step in steps:
        most = expected.setdefault(tuple(step.rows), dict.fromkeys(step.rows, 0))
        for process in range(processes):
            for task, rows in step.rows.items():
                parts = parts_of(rows, process, processes, accumulate)
                most[task] = max([most[task], *map(len, parts)])
    assert [work.examples for work in largest.works()] == list(expected.values())


def test_rows_of_all_tasks_are_there_at_once() -> None:
    """Against the real step's tensors, counted while they are there."""
    model = make_model(3)
    matrix = GradientMatrix(list(model.parameters()))
    matrix.start(list(model.tasks))
    for task in model.tasks:
        matrix.add(task, model(task, batch(4, 20)).sum())
    rows = matrix.take().rows
    count = nbytes(entry for row in rows for entry in row if entry is not None)
    work = Work((), dict.fromkeys(model.tasks, 4))
    found = estimated([work], K=3)
    assert found.gradients == count
    assert found.step > found.parameters + found.optimizer + found.gradients


def test_one_pass_has_all_activations_at_once_and_keeps_its_rows() -> None:
    work = [Work((), {"task0": 4, "task1": 4})]
    each, one = (estimated(work, one_pass=one_pass) for one_pass in (False, True))
    assert one.activations == pytest.approx(2 * each.activations, rel=0.05)
    assert one.gradients == pytest.approx(each.gradients, rel=0.05)
    assert one.step > each.step
