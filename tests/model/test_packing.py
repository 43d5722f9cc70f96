"""Packed encoding against padded encoding: outputs, losses and gradients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertModel,
    AttentionInterface,
    BertConfig,
    BertModel,
    CamembertConfig,
    CamembertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.model.packing import PACKABLE, pack, packed_attention, pooled_packed, pooled_padded
from mtl_bert.model.pooling import POOLINGS
from mtl_bert.tasks import Binary, MultiClass
from tests.factories import make_task

VOCABULARY, LONGEST = 60, 40

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LONGEST + 2,  # RoBERTa's begin at 2
    "initializer_range": 0.4,  # far from 0, so that outputs differ where inputs do
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTIL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
    "initializer_range": 0.4, "dropout": 0.0, "attention_dropout": 0.0,
    "max_position_embeddings": LONGEST,
}  # fmt: skip

MODERN: dict[str, Any] = {
    **SIZES, "num_hidden_layers": 3, "local_attention": 8, "global_attn_every_n_layers": 3,
    "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "initializer_range": 0.2,
    "attention_dropout": 0.0,
}  # fmt: skip
"""The second layer and the third look at neighbours of each token only."""

ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES)),
    "camembert": lambda: CamembertModel(CamembertConfig(**SIZES)),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=8)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**DISTIL)),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**MODERN)),
}


def make_encoder(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return ENCODERS[kind]()


def make_batch(lengths: list[int], encoder: PreTrainedModel, per_example: int = 1) -> Batch:
    rng = np.random.default_rng(sum(lengths))
    pad = encoder.config.pad_token_id
    tokens = rng.integers(pad + 1, VOCABULARY, sum(lengths))
    types = None
    if getattr(encoder.config, "type_vocab_size", 1) > 1:
        types = rng.integers(0, 2, sum(lengths))
    rows = np.arange(len(lengths) // per_example)
    labels = torch.from_numpy(rng.integers(0, 2, len(rows))).float()
    return Batch.of(np.array(lengths), tokens, types, labels, rows)


some_lengths = st.lists(st.integers(1, LONGEST), min_size=1, max_size=7)


def test_every_kind_that_is_said_to_pack_is_tried_here() -> None:
    assert set(ENCODERS) == PACKABLE


@pytest.mark.parametrize("kind", ENCODERS)
@settings(max_examples=15, deadline=None)
@given(lengths=some_lengths, pooling=st.sampled_from(["pooler", *POOLINGS]))
def test_outputs_and_gradients_are_those_of_padding(
    kind: str, lengths: list[int], pooling: str
) -> None:
    found = []
    for packs in (False, True):
        encoder = make_encoder(kind).double()
        assert not packs or pack(encoder)
        batch = make_batch(lengths, encoder)
        if pooling == "pooler" and getattr(encoder, "pooler", None) is None:
            pooling = "mean"
        pooled = (pooled_packed if packs else pooled_padded)(encoder, batch, pooling)
        weights = torch.linspace(-1, 1, pooled.numel(), dtype=torch.float64).view_as(pooled)
        (pooled * weights).sum().backward()
        found.append((pooled, {n: p.grad for n, p in encoder.named_parameters()}))
    (padded, plain), (packed, ours) = found
    assert padded.shape == (len(lengths), 16)
    torch.testing.assert_close(packed, padded, rtol=1e-9, atol=1e-11)
    for name, gradient in plain.items():
        mine = ours[name]
        # An unused pooler gives no gradient at all, and a pooler of padding none that counts.
        assert (mine is None) == (gradient is None), name
        if mine is not None and gradient is not None:
            torch.testing.assert_close(mine, gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("per_example", [1, 2])
@pytest.mark.parametrize("encoder_per_task", [False, True])
def test_losses_and_gradients_of_the_whole_model(per_example: int, encoder_per_task: bool) -> None:
    @dataclass(frozen=True)
    class Source:
        name: str = "some"

        def encoder(self) -> PreTrainedModel:
            return make_encoder("bert")

        def tokenizer(self) -> Any:
            raise NotImplementedError

        def trained_on(self) -> list[str]:
            return []

    tasks = [make_task("one", pair=per_example == 2, head=Binary()), make_task("other")]
    found: list[tuple[Tensor, list[Tensor | None]]] = []
    for packs in (False, True):
        torch.manual_seed(1)
        model = MultiTaskModel(
            tasks,
            Source(),
            cross_encode=per_example == 1,
            dropout=0.0,
            encoder_per_task=encoder_per_task,
        )
        assert not packs or model.pack()
        assert model.packs == packs
        batch = make_batch([7, 3, 12, 1, 30, 2], make_encoder("bert"), per_example)
        assert batch.labels is not None
        loss = tasks[0].loss(model("one", batch), batch.labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found.append((loss, list(gradients)))
    (padded, plain), (packed, ours) = found
    torch.testing.assert_close(packed, padded, rtol=1e-6, atol=1e-6)
    for a, b in zip(ours, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)


def test_padding_is_the_encoders_own_token() -> None:
    encoder = make_encoder("roberta")
    seen: list[Tensor] = []
    encoder.embeddings.word_embeddings.register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    pooled_padded(encoder, make_batch([2, 4], encoder), "pooler")
    assert encoder.config.pad_token_id == 1
    assert (seen[0] == 1).tolist() == [[False, False, True, True], [False] * 4]


def test_sequences_do_not_see_each_other() -> None:
    encoder = make_encoder("bert")
    assert pack(encoder)
    together = make_batch([5, 9, 4], encoder)
    alone = Batch.of(
        np.array([9]), together.input_ids[5:14].numpy(), together.token_type_ids[5:14].numpy(),  # type: ignore[index]
        None, np.arange(1),
    )  # fmt: skip
    expected = pooled_packed(encoder, alone, "pooler")[0]
    torch.testing.assert_close(pooled_packed(encoder, together, "pooler")[1], expected)


def test_attention_is_dropped_out_in_training_alone() -> None:
    torch.manual_seed(0)
    config = BertConfig(**(SIZES | {"attention_probs_dropout_prob": 0.5}))
    encoder = BertModel(config).train()
    assert pack(encoder)
    assert encoder.training  # as it was
    batch = make_batch([8, 5], encoder)
    assert not torch.allclose(
        pooled_packed(encoder, batch, "pooler"), pooled_packed(encoder, batch, "pooler")
    )
    encoder.eval()
    assert torch.equal(
        pooled_packed(encoder, batch, "pooler"), pooled_packed(encoder, batch, "pooler")
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: MPNetModel(MPNetConfig(**SIZES)),  # positions are relative
        lambda: AlbertModel(AlbertConfig(**SIZES, embedding_size=8)),  # pools in its own way
    ],
    ids=["mpnet", "albert"],
)
def test_an_encoder_of_an_unknown_kind_stays_as_it_is(make: Any) -> None:
    encoder = make()
    before = encoder.config._attn_implementation
    assert not pack(encoder)
    assert encoder.config._attn_implementation == before


def test_an_encoder_that_attends_across_borders_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if a version of transformers no longer told attention of the sequences."""

    def blind(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any
    ) -> tuple[Tensor, None]:
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2), None

    encoder = make_encoder("bert")
    AttentionInterface.register("packed", blind)
    try:
        assert not pack(encoder)
    finally:
        AttentionInterface.register("packed", packed_attention)
    assert encoder.config._attn_implementation == "sdpa"


def test_half_precision_is_as_far_off_as_with_padding() -> None:
    encoder = make_encoder("bert").eval()
    batch = make_batch([7, 20, 3], encoder)
    exact = pooled_padded(encoder, batch, "pooler")
    with torch.autocast("cpu", torch.bfloat16):
        padded = pooled_padded(encoder, batch, "pooler")
        assert pack(encoder)
        packed = pooled_packed(encoder, batch, "pooler")
    assert (packed - exact).abs().max() < 2 * (padded - exact).abs().max() + 1e-3


def test_class_logits_have_their_form_when_packed() -> None:
    @dataclass(frozen=True)
    class Source:
        name: str = "some"

        def encoder(self) -> PreTrainedModel:
            return make_encoder("distilbert")

        def tokenizer(self) -> Any:
            raise NotImplementedError

        def trained_on(self) -> list[str]:
            return []

    model = MultiTaskModel([make_task(head=MultiClass(["a", "b", "c"]))], Source())
    assert model.pack()
    assert model("toy", make_batch([4, 9], make_encoder("distilbert"))).shape == (2, 3)
