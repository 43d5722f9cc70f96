"""Several labels of one text in a step: one pass through the encoder, the gradients of one each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtl_bert import PCGrad
from mtl_bert.data.batch import Batch, Tokenized, as_it_is
from mtl_bert.data.text_numbers import same_texts
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model import MultiTaskModel
from mtl_bert.model.adapters import Adapter
from mtl_bert.sampling import RoundRobin
from mtl_bert.sampling.loader import PlanLoader, PlanStep
from mtl_bert.sampling.same_texts import Texts, sharing
from mtl_bert.surgery import Surgeon
from mtl_bert.training.step import take_step
from tests.factories import TINY, make_table, make_task, random_texts

TASKS = ("a", "b", "other", "c")


def steps_of(
    parts: int = 1, blanks: int = 0, alike: bool = True
) -> tuple[list[PlanStep[Batch]], list[Texts]]:
    """Steps with three labels of the same texts, ``blanks`` of some missing, and another task."""
    tokenizer = TINY.tokenizer()
    texts = random_texts(tokenizer, 20, 1, 12)
    others = random_texts(tokenizer, 20, 1, 12, seed=1)
    rng = np.random.default_rng(2)
    there = {task: np.arange(20) for task in TASKS} | {
        "a": np.arange(20 - blanks), "b": np.arange(blanks, 20)[::-1]
    }  # fmt: skip
    tables = {
        task: make_table([(others if task == "other" else texts)[row] for row in rows],
                         rng.integers(0, 2, len(rows)).tolist())
        for task, rows in there.items()
    }  # fmt: skip
    encoded = {task: Tokenize(tokenizer, 32)(table) for task, table in tables.items()}
    tasks = [make_task(task) for task in TASKS]
    groups = same_texts(tasks, encoded)
    assert [list(group) for group in groups] == [["a", "b", "c"]]
    for of_tables, group in zip(same_texts(tasks, tables), groups, strict=True):
        for task in group:
            assert group[task].tolist() == of_tables[task].tolist()
            assert group[task].tolist() == groups[0]["c"][there[task]].tolist()
    data = {task: Tokenized(part, torch.float64) for task, part in encoded.items()}
    loader: PlanLoader[Batch] = PlanLoader(
        data, RoundRobin(6), epochs=1, collate_fn=as_it_is, accumulate_grad_batches=parts,
        same_texts=groups if alike else (),
    )  # fmt: skip
    return list(loader), groups


def model_of(**more: Any) -> MultiTaskModel:
    torch.manual_seed(0)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    source = replace(TINY, settings={**TINY.settings, **quiet})
    return MultiTaskModel([make_task(t) for t in TASKS], source, dropout=0.0, **more).double()


class Encodings:
    """Counts the sequences, by their first tokens, that go through a model's encoder."""

    def __init__(self, model: MultiTaskModel) -> None:
        self.sequences, self._first = 0, TINY.tokenizer().cls_token_id
        for encoder in {id(e): e for e in map(model.encoder_of, model.tasks)}.values():
            words = next(m for m in encoder.modules() if isinstance(m, nn.Embedding))
            words.register_forward_pre_hook(self._seen)

    def _seen(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.sequences += int((args[0] == self._first).sum())


def update(
    step: PlanStep[Batch],
    same: Sequence[Texts],
    one_pass: bool = False,
    packs: bool = False,
    **more: Any,
) -> tuple[list[Tensor | None], Tensor, int]:
    """What a step leaves in ``grad``, its Gram matrix, and the sequences that were encoded."""
    model = model_of(**more)
    assert not packs or model.pack()
    surgeon, seen = Surgeon(model, PCGrad()), Encodings(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    result = take_step(model, surgeon, optimizer, step, seed=1, one_pass=one_pass, same_texts=same)
    return [p.grad for p in model.parameters()], result.gram, seen.sequences


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("blanks", [0, 2])
def test_the_update_is_that_of_a_pass_for_each(
    one_pass: bool, parts: int, packs: bool, blanks: int
) -> None:
    steps, groups = steps_of(parts, blanks)

    def texts_of(step: PlanStep[Batch], tasks: Sequence[str]) -> set[int]:
        found = (groups[0][task][step.plan.rows[task]].tolist() for task in tasks)
        return set[int]().union(*found)

    for step in steps:
        (sharers,) = sharing(step.plan, groups) or [[]]
        texts = texts_of(step, sharers)
        if sharers and len(texts) == 6 + bool(blanks):
            break
    else:
        raise AssertionError("no such step")
    shared, gram, few = update(step, groups, one_pass, packs)
    apart, other, many = update(step, [])
    assert many == 4 * 6
    if parts == 1 or not blanks:  # in parts a text may be in another part of one task
        assert few == len(texts) + (4 - len(sharers)) * 6
    torch.testing.assert_close(gram, other)
    for mine, its in zip(shared, apart, strict=True):
        assert (mine is None) == (its is None)
        if mine is not None and its is not None:
            torch.testing.assert_close(mine.to_dense(), its.to_dense())


def test_batches_of_other_texts_and_weights_of_each_task_go_by_themselves() -> None:
    dealt_apart, groups = steps_of(alike=False)
    assert update(dealt_apart[0], groups)[2] == 4 * 6
    adapter = Adapter("pals", 4, 2)
    steps, groups = steps_of()
    assert update(steps[0], groups, adapter=adapter)[2] == 4 * 6
