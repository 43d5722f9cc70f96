"""How a text's vector is made, against texts that are encoded one by one; and how it is chosen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
)

from mtl_bert.data.batch import Tokenized
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model import ModelError, MultiTaskModel, Pretrained
from mtl_bert.model.encoder import keep_first_layers
from mtl_bert.model.pooling import choose, write_sentence_transformers
from tests.factories import TINY, assert_tells, make_table, make_task, random_texts
from tests.model.test_packing import DISTIL, SIZES

TOKENIZER = TINY.tokenizer()
BY_HAND = {
    "pooler": lambda output: output.pooler_output[0],
    "cls": lambda output: output.last_hidden_state[0, 0],
    "mean": lambda output: output.last_hidden_state[0].mean(0),
    "max": lambda output: output.last_hidden_state[0].max(0).values,
    "last": lambda output: output.last_hidden_state[0, -1],
}


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("kind", BY_HAND)
def test_a_text_is_its_own_states_whatever_stands_beside_it(kind: str, packs: bool) -> None:
    torch.manual_seed(0)
    model = MultiTaskModel([make_task()], TINY, pooling=kind).eval().double()
    assert not packs or model.pack()
    encoder = model.encoder if kind == "pooler" else TINY.encoder()
    encoder.double().eval().load_state_dict(model.encoder.state_dict(), strict=False)
    texts = random_texts(TOKENIZER, 6, 1, longest=12)
    encoded = Tokenize(TOKENIZER, 32, True)(make_table(texts))
    pooled = model.pooled("toy", Tokenized(encoded, torch.float32)[np.arange(6)])
    if kind == "pooler":
        encoder.set_attn_implementation("sdpa")
    for (text,), vector in zip(texts, pooled, strict=True):
        expected = BY_HAND[kind](encoder(**TOKENIZER(text, return_tensors="pt")))
        torch.testing.assert_close(vector, expected, rtol=1e-9, atol=1e-11)


def test_the_mean_of_many_half_precision_states_is_exact_to_their_precision() -> None:
    from mtl_bert.model.pooling import POOLINGS

    states = torch.full([1, 4096, 1], 1.0, dtype=torch.bfloat16)
    assert POOLINGS["mean"](states, torch.ones(1, 4096, dtype=torch.bool)).item() == 1.0


def saved(place: Path, encoder: PreTrainedModel) -> Path:
    encoder.save_pretrained(place)
    TOKENIZER.save_pretrained(place)
    return place


def roberta(pooler: bool) -> PreTrainedModel:
    return RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=pooler)


def chosen(place: Path, wanted: str = "auto") -> str:
    model = MultiTaskModel([make_task()], Pretrained(str(place), local=True), pooling=wanted)
    assert model.pooling.kind in str(model.pooling)
    return model.pooling.kind


def test_a_pooler_is_used_if_it_was_trained(tmp_path: Path) -> None:
    trained, untrained = (saved(tmp_path / str(p), roberta(p)) for p in (True, False))
    assert chosen(trained) == "pooler"
    assert chosen(untrained) == "mean"  # transformers would make up a random one
    without = saved(tmp_path / "distil", DistilBertModel(DistilBertConfig(**DISTIL)))
    assert chosen(without) == "mean"
    assert chosen(untrained, "cls") == "cls"
    for place in (untrained, without):
        with pytest.raises(ModelError) as refusal:
            chosen(place, "pooler")
        assert_tells(refusal.value, "model.pooling", place.name, "write model.pooling=mean")


def test_a_pooler_that_is_not_used_is_not_trained_or_saved(tmp_path: Path) -> None:
    place = saved(tmp_path / "roberta", roberta(True))
    source = Pretrained(str(place), local=True)
    model = MultiTaskModel([make_task()], source, pooling="mean")
    whole = MultiTaskModel([make_task()], source)
    assert {name for name, _ in whole.named_parameters()} - {
        name for name, _ in model.named_parameters()
    } == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}


THEIRS: dict[str, tuple[dict[str, Any], str]] = {
    "mean": ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
    "cls": ({"pooling_mode_cls_token": True, "include_prompt": True}, "cls"),
    "max": ({"pooling_mode_max_tokens": True}, "max"),
    "last": ({"pooling_mode_lasttoken": True}, "last"),
    "as of version 5": ({"pooling_mode": "cls"}, "cls"),
    "two at once": ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "pooler"),
    "one that we lack": (
        {"pooling_mode_mean_tokens": True, "pooling_mode_weightedmean_tokens": True}, "pooler",
    ),
    "nothing": ({}, "pooler"),
}  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_directories_of_sentence_transformers_are_followed(name: str, tmp_path: Path) -> None:
    said, expected = THEIRS[name]
    place = saved(tmp_path / "encoder", roberta(True))
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling" / "config.json").write_text(json.dumps(said))
    assert chosen(place) == expected
    assert chosen(place, "pooler") == "pooler"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"pooling_mode": []}', "\xff"])
def test_a_damaged_file_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_bytes(text.encode("latin-1"))
    assert choose("auto", TINY.encoder(), str(tmp_path)).kind == "pooler"


@pytest.mark.parametrize("kind", ["cls", "mean", "max", "last"])
def test_what_is_written_for_sentence_transformers_is_followed(kind: str, tmp_path: Path) -> None:
    write_sentence_transformers(tmp_path, kind, 16)
    assert choose("auto", TINY.encoder(), str(tmp_path)).kind == kind


MANY = {**SIZES, "num_hidden_layers": 4}
LAYERED = {
    "bert": lambda: AutoModel.from_config(TINY._config(60)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**DISTIL | {"n_layers": 4})),
    "electra": lambda: ElectraModel(ElectraConfig(**MANY, embedding_size=8)),
    "albert": lambda: AlbertModel(AlbertConfig(**MANY, embedding_size=8)),
    "deberta": lambda: DebertaV2Model(DebertaV2Config(**MANY, relative_attention=True)),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**{**MANY, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2})
    ),
    "t5": lambda: T5EncoderModel(
        T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=4, num_heads=2)
    ),
}


@pytest.mark.parametrize("kind", LAYERED)
def test_first_layers_are_those_of_the_whole_encoder(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = LAYERED[kind]().eval()
    tokens = torch.arange(3, 11)[None]
    states: list[Tensor] = []
    stack = next(part for part in encoder.modules() if _is_stack(part, encoder))
    for layer in (stack[1],) if len(stack) > 1 else (stack[0],):
        layer.register_forward_hook(lambda _, __, out: states.append(_first(out)))
    encoder(input_ids=tokens)
    keep_first_layers(encoder, 2)
    assert encoder.config.num_hidden_layers == 2
    after: list[Tensor] = []
    (stack[1] if len(stack) > 1 else stack[0]).register_forward_hook(
        lambda _, __, out: after.append(_first(out))
    )
    encoder(input_ids=tokens)
    expected = states[0] if len(stack) > 1 else states[1]  # ALBERT's only layer, the second time
    torch.testing.assert_close(after[-1], expected)
    encoder.save_pretrained(tmp_path)
    again = (
        AutoModel.from_pretrained(tmp_path)
        if kind != "t5"
        else T5EncoderModel.from_pretrained(tmp_path)
    )
    torch.testing.assert_close(
        again(input_ids=tokens).last_hidden_state, encoder(input_ids=tokens).last_hidden_state
    )


def test_a_layer_of_t5_of_two_parts_is_no_stack_of_two_layers() -> None:
    config = T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    encoder = T5EncoderModel(config).eval()
    keep_first_layers(encoder, 1)
    parts = [type(part).__name__ for part in encoder.encoder.block[0].layer]
    assert parts == ["T5LayerSelfAttention", "T5LayerFF"]
    assert encoder(input_ids=torch.arange(3, 11)[None]).last_hidden_state.isfinite().all()


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _is_stack(part: Any, encoder: PreTrainedModel) -> bool:
    only = encoder.config.model_type == "albert"
    return isinstance(part, torch.nn.ModuleList) and (
        len(part) == encoder.config.num_hidden_layers or only
    )


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError) as refusal:
        MultiTaskModel([make_task()], TINY, layers=3)
    assert_tells(refusal.value, "model.layers", "at most 2", "found 3", "model.layers=2")
