"""Several tasks in one pass through an encoder: the rows of a pass for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
)

from mtl_bert.config.settings import TrainerSettings
from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix
from mtl_bert.training.passes import MOST_TOKENS, Passes, passes
from mtl_bert.training.step import task_loss
from tests.factories import make_task
from tests.model.test_packing import ENCODERS, SIZES, make_batch

KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    **ENCODERS,
    "albert": lambda: AlbertModel(AlbertConfig(**SIZES, embedding_size=8)),
    "bert, one layer": lambda: BertModel(BertConfig(**SIZES | {"num_hidden_layers": 1})),
}
OTHERS: dict[str, Callable[[], PreTrainedModel]] = {
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES)),
    "deberta": lambda: DebertaV2Model(
        DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"])
    ),
}
TASKS = ("one", "pair", "other")


@dataclass(frozen=True)
class Source:
    """An encoder of some kind."""

    kind: str
    name: str = "some"

    def encoder(self) -> PreTrainedModel:
        torch.manual_seed(0)
        return (KINDS | OTHERS)[self.kind]()

    def tokenizer(self) -> Any:
        raise NotImplementedError

    def trained_on(self) -> list[str]:
        return []


def make_model(kind: str, *, packs: bool = False, **more: Any) -> MultiTaskModel:
    tasks = [make_task(task, pair=task == "pair") for task in TASKS]
    model = MultiTaskModel(tasks, Source(kind), cross_encode=False, dropout=0.0, **more)
    assert not packs or model.pack()
    return model


def rows(
    model: MultiTaskModel,
    batches: dict[str, Batch],
    *,
    one: bool,
    half: bool = False,
    parameters: list[Parameter] | None = None,
) -> list[list[Tensor | None]]:
    matrix = GradientMatrix(parameters or list(model.parameters()))
    matrix.start(list(batches))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        if one:
            with matrix.one_pass(model.trunk, *model.sizes(batches)):
                outputs = model.together(batches)
                losses = {t: task_loss(model, t, b, outputs[t]) for t, b in batches.items()}
                matrix.add_together(losses, dict.fromkeys(losses, 1.0))
        else:
            for task, batch in batches.items():
                matrix.add(task, task_loss(model, task, batch))
    taken = matrix.take()
    return [[None if e is None else e.to_dense() for e in row] for row in taken.rows]


def ragged(model: MultiTaskModel) -> dict[str, Batch]:
    """Of very unequal lengths; as many sequences in all as the longest has tokens."""
    lengths = {"one": [7, 3, 12], "pair": [2, 5, 1, 4], "other": [9, 1, 2, 2, 3]}
    encoder = model.encoder
    return {t: make_batch(n, encoder, 2 if t == "pair" else 1) for t, n in lengths.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packs", [False, True])
def test_every_kind_of_encoder_gives_the_rows_of_several_passes(kind: str, packs: bool) -> None:
    if packs and kind not in ENCODERS:
        pytest.skip("is padded")
    model = make_model(kind, packs=packs).double()
    assert passes(TrainerSettings(passes="one"), model, 9e9).one
    found, expected = (rows(model, ragged(model), one=one) for one in (True, False))
    assert any(entry is not None for entry in found[0])
    for row, reference in zip(found, expected, strict=True):
        for (name, _), a, b in zip(model.named_parameters(), row, reference, strict=True):
            assert (a is None) == (b is None), name
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize("packs", [False, True])
def test_in_half_precision_rows_are_as_far_off_as_those_of_several_passes(packs: bool) -> None:
    model = make_model("bert", packs=packs)
    batches = ragged(model)
    exact = rows(make_model("bert", packs=packs).double(), batches, one=False)
    off = []
    for one in (True, False):
        found = rows(model, batches, one=one, half=True)
        lengths = [[a.norm() for a in row if a is not None] for row in exact]
        off.append(
            max(
                float((a - b).norm() / torch.stack(length).norm())
                for row, other, length in zip(found, exact, lengths, strict=True)
                for a, b in zip(row, other, strict=True)
                if a is not None and b is not None
            )
        )
    assert off[0] < 1.5 * off[1] + 1e-3


@pytest.mark.parametrize("kind", OTHERS)
def test_an_encoder_that_shares_something_between_examples_takes_a_pass_for_each(kind: str) -> None:
    """Distances between tokens, whose table is looked up once for a whole batch."""
    chosen = passes(TrainerSettings(passes="one"), make_model(kind), 1)
    assert (
        str(chosen) == "a pass for each task (in one pass this encoder's gradients would be others)"
    )


def test_the_choice_and_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, one = TrainerSettings(accelerator="cpu"), TrainerSettings(passes="one")
    packed = make_model("bert", packs=True)
    most = MOST_TOKENS
    with monkeypatch.context() as there:
        there.setattr("torch.cuda.is_available", lambda: True)
        assert passes(TrainerSettings(accelerator="gpu"), make_model("bert"), 10 * most).one
    assert passes(auto, packed, most).one
    assert passes(auto, packed, most).chosen
    assert not passes(auto, packed, most + 1).one
    assert not passes(auto, make_model("bert"), 1).one  # short texts would be padded to the longest
    assert not passes(one, make_model("bert", encoder_per_task=True), 1).one
    assert not passes(TrainerSettings(passes="per_task"), packed, 1).one
    packed.encoder.encoder.layer[0].attention.output.dense.weight.register_hook(lambda g: g)
    layer = "encoder.encoder.layer.0.attention.output.dense (Linear)"
    assert layer in str(passes(one, packed, 1))
    with torch.device("meta"):
        assert passes(one, make_model("bert"), 1).one


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_run_goes_on_as_it_began_unless_it_is_told_otherwise(chosen: bool, before: bool) -> None:
    now = Passes(True, "faster", chosen=chosen)
    now.resume(before, 0.5)
    assert now.cost == 0.5
    assert now.one == (before if chosen else True)
    assert ("as the run began" in str(now)) == (chosen and not before)


def test_joined_batches_are_the_sequences_one_after_another() -> None:
    encoder = KINDS["bert"]()
    parts = [make_batch(lengths, encoder) for lengths in ([3, 1], [5], [2, 4, 1])]
    joined = Batch.joined(parts)
    assert joined.sequences == 6
    lists = [
        [row[:n].tolist() for row, n in zip(b.padded(b.input_ids, 0), b.mask.sum(1), strict=True)]
        for b in (joined, *parts)
    ]
    assert lists[0] == [text for some in lists[1:] for text in some]
    assert torch.equal(joined.cu_seqlens.diff(), joined.mask.sum(1))
