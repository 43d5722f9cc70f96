"""Projected attention layers against the paper's equations, and all ways through them."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, PreTrainedModel

from mtl_bert.config.settings import TrainerSettings
from mtl_bert.model import ModelError, MultiTaskModel
from mtl_bert.model.adapters import Adapter
from mtl_bert.model.pals import Shape, TaskAdapters, last_norms
from mtl_bert.training.passes import passes
from tests.factories import assert_tells
from tests.model.test_packing import ENCODERS, SIZES, make_batch
from tests.model.test_together import make_model, ragged, rows

PALS = {"pals": Adapter("pals", size=6, heads=2), "low_rank": Adapter("low_rank", size=5)}


def awake(model: MultiTaskModel) -> MultiTaskModel:
    """With weights that show: those of the beginning are near zero."""
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if name.startswith("adapters."):
            nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize(
    ("kind", "count"), [("pals", 1_819_836), ("low_rank", 12 * (768 * 100 + 100 + 100 * 768 + 768))]
)
def test_parameters_for_a_task_on_bert_base_are_as_many_as_published(kind: str, count: int) -> None:
    with torch.device("meta"):
        encoder = BertModel(BertConfig())
        adapters = TaskAdapters([encoder], ["a", "b"], Shape.of(encoder, kind))
    assert sum(p.numel() for p in adapters.modules["a"].parameters()) == count
    if kind == "pals":
        all_of_eight = 8 * count / sum(p.numel() for p in encoder.parameters())
        assert all_of_eight == pytest.approx(0.133, abs=5e-4)


# The equations, by hand. h [T, D] is one sequence; W[name] a task's weights.


def linear(x: Tensor, W: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.einsum("ti,oi->to", x, W[f"{name}.weight"]) + W[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(x: Tensor, W: Mapping[str, Tensor], name: str, heads: int) -> Tensor:
    q, k, v = (linear(x, W, f"{name}.{part}") for part in ("query", "key", "value"))
    width = x.shape[1] // heads
    answers = []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        scores = q[:, own] @ k[:, own].T / math.sqrt(width)
        answers.append(torch.softmax(scores, dim=1) @ v[:, own])
    return torch.cat(answers, dim=1)


def by_hand(h: Tensor, W: Mapping[str, Tensor], layer: int, kind: str) -> Tensor:
    if kind == "low_rank":
        return linear(gelu(linear(h, W, f"layers.{layer}.0")), W, f"layers.{layer}.2")
    return gelu(linear(attention(linear(h, W, "down"), W, f"layers.{layer}", 2), W, "up"))


def norm(x: Tensor, W: Mapping[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-12)
    return scaled * W[f"{name}.weight"] + W[f"{name}.bias"]


def bert_by_hand(tokens: Tensor, types: Tensor, B: Mapping[str, Tensor], more: Any) -> Tensor:
    """All of BERT for one sequence, from its weights and those of a task."""
    tables = ("word", tokens), ("position", torch.arange(len(tokens))), ("token_type", types)
    h = sum(B[f"embeddings.{name}_embeddings.weight"][rows] for name, rows in tables)
    assert isinstance(h, Tensor)
    h = norm(h, B, "embeddings.LayerNorm")
    for layer in range(2):
        place = f"encoder.layer.{layer}"
        seen = attention(h, B, f"{place}.attention.self", 2)
        a = norm(h + linear(seen, B, f"{place}.attention.output.dense"), B,
                 f"{place}.attention.output.LayerNorm")  # fmt: skip
        ffn = linear(gelu(linear(a, B, f"{place}.intermediate.dense")), B, f"{place}.output.dense")
        h = norm(a + ffn + more(h, layer), B, f"{place}.output.LayerNorm")
    return torch.tanh(linear(h[:1], B, "pooler.dense"))[0]


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("kind", PALS)
def test_bert_with_them_is_what_the_equations_say(kind: str, packs: bool) -> None:
    model = awake(make_model("bert", adapter=PALS[kind])).eval().double()
    assert not packs or model.pack()
    bert = dict(model.encoder.named_parameters())
    batch = make_batch([7, 3, 12], model.encoder)
    assert batch.token_type_ids is not None
    for task in ("one", "other"):
        W = dict(model.adapters.get_submodule(task).named_parameters())
        pooled = model.pooled(task, batch)
        ends = batch.cu_seqlens.tolist()
        for vector, first, end in zip(pooled, ends, ends[1:], strict=False):
            own = slice(first, end)
            expected = bert_by_hand(
                batch.input_ids[own], batch.token_type_ids[own], bert,
                lambda h, layer, W=W: by_hand(h, W, layer, kind),
            )  # fmt: skip
            torch.testing.assert_close(vector, expected, rtol=1e-9, atol=1e-10)
    assert not torch.allclose(model.pooled("one", batch), model.pooled("other", batch), atol=1e-2)


@pytest.mark.parametrize("kind", [*sorted(ENCODERS.keys() - {"modernbert"}), "mpnet", "deberta"])
def test_every_kind_of_encoder_adds_them_before_its_layers_last_norm(kind: str) -> None:
    """One sequence through the encoder's own layers, with TS(h) of the equations in between."""
    model = awake(make_model(kind, adapter=PALS["pals"])).eval().double()
    W = dict(model.adapters.get_submodule("one").named_parameters())
    batch = make_batch([9], model.encoder)
    found = model.pooled("one", batch, "mean")
    plain = make_model(kind).encoder.eval().double()
    plain.load_state_dict(model.encoder.state_dict())
    inputs: dict[int, Tensor] = {}
    for number, (layer, last) in enumerate(last_norms(plain)):

        def note(_: Any, args: Any, number: int = number) -> None:
            inputs[number] = args[0]

        def expected(x: Tensor, number: int = number, last: Any = last) -> Tensor:
            more = by_hand(inputs[number][0], W, number, "pals")
            return torch.nn.functional.layer_norm(
                x + more, last.normalized_shape, last.weight, last.bias, last.eps
            )

        layer.register_forward_pre_hook(note)
        last.forward = expected
    types = {} if batch.token_type_ids is None else {"token_type_ids": batch.token_type_ids[None]}
    states = plain(input_ids=batch.input_ids[None], **types).last_hidden_state
    assert len(inputs) == 2
    torch.testing.assert_close(found[0], states[0].mean(0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", PALS)
@pytest.mark.parametrize("encoder", ["bert", "distilbert"])
def test_all_ways_through_the_encoder_give_the_same_rows(
    encoder: str, kind: str, frozen: bool
) -> None:
    found = []
    for packs, one in ((False, False), (True, False), (False, True), (True, True)):
        model = make_model(encoder, packs=packs, adapter=PALS[kind], freeze_encoder=frozen)
        awake(model).double()
        if one:
            assert passes(TrainerSettings(passes="one"), model, 9e9).one
        trained = [p for p in model.parameters() if p.requires_grad]
        assert frozen is (len(trained) < len([*model.parameters()]))
        found.append(rows(model, ragged(model), one=one, parameters=trained))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    for way in found[1:]:
        for task, row, expected in zip(("one", "pair", "other"), way, found[0], strict=True):
            for name, a, b in zip(names, row, expected, strict=True):
                assert (a is not None) == (b is not None) == model.reaches(task, name), name
                if a is not None and b is not None:
                    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("adapter", [None, PALS["pals"]])
def test_recomputed_layers_give_the_same_rows_to_the_bit(adapter: Any, one: bool) -> None:
    found = []
    for recomputes in (False, True):
        torch.manual_seed(0)
        model = make_model("bert", packs=True, adapter=adapter, gradient_checkpointing=recomputes)
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.3
        awake(model)
        torch.manual_seed(3)
        found.append(rows(model, ragged(model), one=one))
    for row, expected in zip(*found, strict=True):
        for a, b in zip(row, expected, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)


def test_recomputing_keeps_less() -> None:
    kept = []
    for recomputes in (False, True):
        model = make_model("bert", adapter=PALS["pals"], gradient_checkpointing=recomputes)
        count = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model("one", make_batch([30] * 6, model.encoder))
        kept.append(count)
    assert kept[1] < kept[0] / 2


def test_heads_begin_the_same_with_and_without_them() -> None:
    with_them, without = make_model("bert", adapter=PALS["pals"]), make_model("bert")
    for (name, a), (_, b) in zip(
        with_them.heads.named_parameters(), without.heads.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name


def test_they_attach_where_they_are_told() -> None:
    model = awake(make_model("bert", adapter=Adapter("pals", layers=(1,)))).eval()
    assert len(model.adapters.get_submodule("one").layers) == 1  # type: ignore[arg-type]
    states: dict[str, Tensor] = {}
    batch = make_batch([5], model.encoder)
    for task in ("one", "other"):
        hook = model.encoder.encoder.layer[0].register_forward_hook(
            lambda _, __, out, task=task: states.update({task: out})
        )
        states[f"{task}, in the end"] = model.pooled(task, batch)
        hook.remove()
    assert torch.equal(states["one"], states["other"])
    assert not torch.allclose(states["one, in the end"], states["other, in the end"])


REFUSED: dict[str, tuple[Any, str]] = {
    "heads": (Adapter("pals", size=7, heads=2), "model.adapter_size"),
    "layers": (Adapter("pals", layers=(0, 2)), "model.adapter_layers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_a_line(name: str) -> None:
    adapter, key = REFUSED[name]
    with pytest.raises(ModelError) as refusal:
        make_model("bert", adapter=adapter)
    assert_tells(refusal.value, key)


def test_an_encoder_of_other_layers_is_refused() -> None:
    encoder: PreTrainedModel = ModernBertModel(
        ModernBertConfig(**{**SIZES, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2})
    )
    with pytest.raises(ModelError) as refusal:
        Shape.of(encoder, "pals")
    assert_tells(refusal.value, "ModernBertModel", "model.adapter=lora")
