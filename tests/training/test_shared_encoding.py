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
from mtl_bert.data.table import same_texts
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model import MultiTaskModel
from mtl_bert.model.adapters import Adapter
from mtl_bert.sampling import RoundRobin
from mtl_bert.sampling.loader import PlanLoader, PlanStep
from mtl_bert.surgery import Surgeon
from mtl_bert.training.step import take_step
from tests.factories import TINY, make_table, make_task, random_texts

TASKS = ("a", "b", "other", "c")
GROUPS = [["a", "b", "c"]]


def steps_of(parts: int = 1, group: Sequence[Sequence[str]] = GROUPS) -> list[PlanStep[Batch]]:
    """Steps with three labels of the same texts, and another task."""
    tokenizer = TINY.tokenizer()
    texts = random_texts(tokenizer, 20, 1, 12)
    others = random_texts(tokenizer, 20, 1, 12, seed=1)
    rng = np.random.default_rng(2)
    tables = {
        task: make_table(others if task == "other" else texts, rng.integers(0, 2, 20).tolist())
        for task in TASKS
    }
    encoded = {task: Tokenize(tokenizer, 32)(table) for task, table in tables.items()}
    assert same_texts(tables) == same_texts(encoded) == GROUPS
    shorter = encoded | {"b": encoded["b"].take(np.arange(19))}
    assert same_texts(shorter) == [["a", "c"]]
    data = {task: Tokenized(part, torch.float64) for task, part in encoded.items()}
    loader: PlanLoader[Batch] = PlanLoader(
        data, RoundRobin(6), epochs=1, collate_fn=as_it_is, same_texts=group,
        accumulate_grad_batches=parts,
    )  # fmt: skip
    return list(loader)


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
    same: Sequence[Sequence[str]],
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
def test_the_update_is_that_of_a_pass_for_each(one_pass: bool, parts: int, packs: bool) -> None:
    step = steps_of(parts)[0]
    shared, gram, few = update(step, GROUPS, one_pass, packs)
    apart, other, many = update(step, [])
    assert many == 4 * 6
    assert few == 2 * 6  # the texts once, and those of the other task
    torch.testing.assert_close(gram, other)
    for mine, its in zip(shared, apart, strict=True):
        assert (mine is None) == (its is None)
        if mine is not None and its is not None:
            torch.testing.assert_close(mine.to_dense(), its.to_dense())


def test_batches_of_other_texts_and_weights_of_each_task_go_by_themselves() -> None:
    dealt_apart = steps_of(group=[])[0]
    assert update(dealt_apart, GROUPS)[2] == 4 * 6
    adapter = Adapter("pals", 4, 2)
    assert update(steps_of()[0], GROUPS, adapter=adapter)[2] == 4 * 6
