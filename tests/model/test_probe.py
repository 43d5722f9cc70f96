"""An encoder's pooled state is its text's, or the encoder is refused before a run begins."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model import ModelError, MultiTaskModel
from mtl_bert.model.packing import position_table
from mtl_bert.model.probe import probe
from tests.factories import TINY, assert_tells, make_task

TOKENIZER = TINY.tokenizer()
WORDS = len(TOKENIZER)
SIZES: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 34, "d_model": 16, "d_kv": 8, "d_ff": 32,
    "ffn_dim": 32, "n_layer": 2, "n_head": 2, "d_inner": 32,
}  # fmt: skip


def of(kind: str, **settings: Any) -> Callable[[], nn.Module]:
    """Makes a small encoder of one of transformers' kinds, with random weights."""

    def make() -> nn.Module:
        config = getattr(transformers, f"{kind}Config")
        known = {name: value for name, value in SIZES.items() if accepts(config(), name)}
        made: nn.Module = getattr(transformers, f"{kind}Model")(config(**(known | settings)))
        return made

    return make


def accepts(config: Any, name: str) -> bool:
    return name in vars(config) or name in config.attribute_map


class Own(nn.Module):
    """Somebody's own encoder: each token's embedding, and the mean of all."""

    def __init__(self, heeds_mask: bool = True, hidden_size: int | None = 16) -> None:
        super().__init__()
        self.embedding, self.heeds_mask = nn.Embedding(WORDS, 16), heeds_mask
        self.config = SimpleNamespace(hidden_size=hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        vectors = self.embedding(input_ids)
        weights = (attention_mask if self.heeds_mask else torch.ones_like(attention_mask))[
            ..., None
        ]
        mean = (vectors * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return SimpleNamespace(last_hidden_state=vectors + mean)


class Forwards(Own):
    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids).cumsum(1))


class Source:
    """A source whose encoder a test is about."""

    name = "some"

    def __init__(self, encoder: Callable[[], Any]) -> None:
        self.encoder = encoder

    def tokenizer(self) -> Any:
        return TOKENIZER

    def trained_on(self) -> list[str]:
        return []


def tried(make: Callable[[], Any], *, packs: bool = False, limit: int = 0) -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel([make_task("one"), make_task("two", pair=True)], Source(make))
    assert not packs or model.pack()
    longest = limit or position_table(model.encoder_of("one"))[1] or 1000
    probe(model, Tokenize(TOKENIZER, longest), "some")
    return model


def broken() -> nn.Module:
    encoder = of("Bert")()
    nn.init.constant_(next(encoder.parameters()), torch.nan)
    return encoder


GOOD = {
    "bert": of("Bert"),
    "without a padding token": of("Bert", pad_token_id=None),
    "roberta": of("Roberta", type_vocab_size=2),
    "mpnet": of("MPNet"),
    "deberta": of("DebertaV2", relative_attention=True),
    "xlnet": lambda: transformers.XLNetModel(
        transformers.XLNetConfig(vocab_size=WORDS, d_model=16, n_layer=2, n_head=2, d_inner=32)
    ),
    "own": Own,
}


@pytest.mark.parametrize("kind", GOOD)
def test_encoders_whose_state_is_the_texts(kind: str) -> None:
    assert tried(GOOD[kind]).training


BAD = {
    "causal": (of("GPT2"), "pooled state has read the text", "like BERT"),
    "a bert that decodes": (of("Bert", is_decoder=True), "pooled state has read the text"),
    "own causal": (Forwards, "pooled state has read the text"),
    "t5": (of("T5"), "T5Model", "decoder"),
    "bart": (of("Bart", encoder_layers=1, decoder_layers=1), "BartModel", "decoder"),
    "no mask": (of("FNet"), "heeds its mask", "padding"),
    "own without mask": (lambda: Own(heeds_mask=False), "heeds its mask"),
    "too few embeddings": (of("Bert", vocab_size=WORDS - 1), f"{WORDS:,} tokens", "out of range"),
    "one segment": (of("Roberta", type_vocab_size=1), "of pairs", "model_input_names"),
    "not finite": (broken, "not finite"),
    "no size": (lambda: Own(hidden_size=None), "hidden_size"),
    "another size": (lambda: Own(hidden_size=17), "[1, 16]"),
    "images": (of("ViT"), "ViTModel"),
}


@pytest.mark.parametrize("kind", BAD)
def test_other_encoders_are_refused_in_a_line(kind: str) -> None:
    make, *told = BAD[kind]
    with pytest.raises(ModelError) as refused:
        tried(make)
    assert_tells(refused.value, "model: expected an encoder", *told)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("Bert", 34), ("Roberta", 32), ("Longformer", 32), ("MPNet", 32), ("Esm", 32), ("XLM", 34)],
)
def test_positions_that_texts_may_have_are_those_that_the_encoder_takes(
    kind: str, limit: int
) -> None:
    """Kin of RoBERTa count from the padding's number, so that the first positions are unused."""
    encoder = of(kind, pad_token_id=1)().eval()
    assert position_table(encoder)[1] == limit
    ids = torch.full((1, limit + 1), 9)
    encoder(input_ids=ids[:, 1:], attention_mask=torch.ones_like(ids[:, 1:]))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))


@pytest.mark.parametrize("packs", [False, True])
def test_the_longest_sequence_is_tried_in_the_first_layer_alone(packs: bool) -> None:
    lengths: dict[int, list[int]] = {0: [], 1: []}

    def make() -> nn.Module:
        encoder = of("Bert")()
        for number, layer in enumerate(encoder.get_submodule("encoder.layer").children()):
            layer.register_forward_pre_hook(
                lambda _, given, number=number: lengths[number].append(given[0].shape[1])
            )
        return encoder

    tried(make, packs=packs)
    assert 34 in lengths[0]
    assert 34 not in lengths[1]
    lengths[1].clear()
    with pytest.raises(ModelError) as refused:
        tried(make, packs=packs, limit=35)
    assert_tells(refused.value, "of 35 tokens", "model.max_length")


def test_nothing_is_left_of_the_trial() -> None:
    model = MultiTaskModel([make_task()], Source(of("Bert", hidden_dropout_prob=0.5)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    probe(model, Tokenize(TOKENIZER, 34), "some")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in model.modules())
    assert all(not part._forward_hooks for part in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("change", [nn.Module.double, lambda model: model.to("meta")])
def test_what_a_loss_holds_follows_the_model(change: Callable[[nn.Module], object]) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.ones(2)

    losses: list[Any] = [nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)), Plain()]
    losses += [partial(nn.functional.mse_loss, weight=torch.ones(1))]
    tasks = [replace(make_task(f"t{n}"), loss=loss) for n, loss in enumerate(losses)]
    model = MultiTaskModel(tasks, Source(of("Bert")))
    change(model)
    weight = model.heads["t0"].weight
    for held in (losses[0].pos_weight, losses[1].scale, losses[2].keywords["weight"]):
        assert (held.dtype, held.device) == (weight.dtype, weight.device)
    assert all(name.startswith(("encoder.", "heads.")) for name in model.state_dict())
