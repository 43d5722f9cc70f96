"""The encoders that people use, small and random, from a directory to a step of training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from mtl_bert.config.settings import ConfigError
from mtl_bert.data.batch import Tokenized
from mtl_bert.model import ModelError, Pretrained
from mtl_bert.model.probe import probe
from mtl_bert.runs.text_model import TextModel, make_text_model
from mtl_bert.training.step import task_loss
from tests.composing import settings_of
from tests.factories import TINY, assert_tells, make_table, make_task, random_texts
from tests.model.test_packing import DISTIL, MODERN, SIZES

TOKENIZER = TINY.tokenizer()
WORDS = {"vocab_size": len(TOKENIZER), "max_position_embeddings": 34, "initializer_range": 0.1}
WIDE: dict[str, Any] = {**SIZES, **WORDS}
T5: dict[str, Any] = {
    "vocab_size": len(TOKENIZER), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2,
    "num_heads": 2, "decoder_start_token_id": 0,
}  # fmt: skip


def of(kind: str, model: str = "Model", **settings: Any) -> Callable[[], PreTrainedModel]:
    def make() -> PreTrainedModel:
        config = getattr(transformers, f"{kind}Config")(**settings)
        made: PreTrainedModel = getattr(transformers, f"{kind}{model}")(config)
        return made

    return make


ENCODERS: dict[str, tuple[Callable[[], PreTrainedModel], int]] = {
    "BertModel": (of("Bert", **WIDE), 34),
    "RobertaModel": (of("Roberta", **WIDE), 32),  # positions begin behind the padding's
    "XLMRobertaModel": (of("XLMRoberta", **WIDE), 32),
    "DistilBertModel": (of("DistilBert", **DISTIL | WORDS), 34),
    "ElectraModel": (of("Electra", **WIDE, embedding_size=8), 34),
    "AlbertModel": (of("Albert", **WIDE, embedding_size=8), 34),
    "MPNetModel": (of("MPNet", **WIDE), 32),
    "DebertaV2Model": (
        of("DebertaV2", **WIDE, relative_attention=True, pos_att_type=["c2p", "p2c"]), 34,
    ),
    "ModernBertModel": (of("ModernBert", **MODERN | WORDS), 34),
    "T5EncoderModel": (of("T5", "EncoderModel", **T5), 512),  # as the tokenizer says
}  # fmt: skip
SEGMENTS = {"BertModel", "ElectraModel", "AlbertModel", "DebertaV2Model"}
TASKS = [make_task("one"), make_task("pair", pair=True)]


def tokenizer_of(kind: str, **special: Any) -> PreTrainedTokenizerFast:
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kind in SEGMENTS else [])]
    given = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    given |= {"model_max_length": 512}
    return PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZER.backend_tokenizer, model_input_names=names, **given | special
    )


def saved(place: Path, kind: str, **special: Any) -> TextModel:
    torch.manual_seed(0)
    ENCODERS[kind][0]().save_pretrained(place)
    tokenizer_of(kind, **special).save_pretrained(place)
    return loaded(place)


def loaded(place: Path, *overrides: str) -> TextModel:
    # Where it lies is said below: the settings of all are composed once.
    settings = settings_of("model=local", "model.path=/encoder", "trainer.threads=1", *overrides)
    return make_text_model(settings, TASKS, Pretrained(str(place), local=True))


def losses(made: TextModel) -> dict[str, torch.Tensor]:
    found = {}
    for task, columns in (("one", 1), ("pair", 2)):
        table = make_table(random_texts(TOKENIZER, 5, columns, longest=6), [0, 1, 1, 0, 1])
        batch = Tokenized(made.tokenize(table), torch.float32)[np.arange(5)]
        found[task] = task_loss(made.model, task, batch)
    return found


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_is_loaded_tried_and_trained(kind: str, tmp_path: Path) -> None:
    made = saved(tmp_path / "encoder", kind)
    encoder = made.model.encoder
    assert type(encoder).__name__ == kind
    assert made.tokenize.max_length == ENCODERS[kind][1]
    for pairs in ("joint", "alone"):
        found = []
        for packing in ("true", "false"):
            where = f"model.pairs={pairs}", f"trainer.packing={packing}"
            made = loaded(tmp_path / "encoder", *where)
            probe(made.model, made.tokenize, kind)
            made.model.eval()
            found.append(losses(made))
        for task, loss in found[0].items():
            torch.testing.assert_close(loss, found[1][task], rtol=1e-4, atol=1e-5)
        sum(found[1].values(), torch.zeros(())).backward()
        without = [n for n, p in made.model.encoder.named_parameters() if p.grad is None]
        assert not without


@pytest.mark.parametrize("kind", ["AlbertModel", "MPNetModel"])
def test_an_encoder_that_keeps_all_says_so(kind: str, tmp_path: Path) -> None:
    saved(tmp_path / "encoder", kind)
    with pytest.raises(ModelError) as refusal:
        loaded(tmp_path / "encoder", "model.gradient_checkpointing=true")
    assert_tells(refusal.value, "model.gradient_checkpointing", kind)


@pytest.mark.parametrize("kind", [k for k in ENCODERS if k not in ("AlbertModel", "MPNetModel")])
def test_the_others_can_compute_their_layers_again(kind: str, tmp_path: Path) -> None:
    saved(tmp_path / "encoder", kind)
    found = []
    for recomputes in ("false", "true"):
        made = loaded(tmp_path / "encoder", f"model.gradient_checkpointing={recomputes}")
        torch.manual_seed(0)  # of dropout
        losses(made)["pair"].backward()
        found.append({n: p.grad for n, p in made.model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_takes_lora(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    saved(tmp_path / "encoder", kind)
    made = loaded(tmp_path / "encoder", "model.adapter=lora")
    sum(losses(made).values(), torch.zeros(())).backward()
    trained = {n: p for n, p in made.model.encoder.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in trained)
    layers = 1 if kind == "AlbertModel" else made.model.encoder.config.num_hidden_layers
    assert len(trained) >= 2 * layers
    for name, parameter in trained.items():  # A has no gradient while B is zero
        assert parameter.grad is not None, name
        assert ".lora_A." in name or parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("kind", ["BertModel", "T5EncoderModel"])
def test_a_tokenizer_without_a_padding_token_will_do(kind: str, tmp_path: Path) -> None:
    made = saved(tmp_path / "encoder", kind, pad_token=None)
    assert made.tokenize.tokenizer.pad_token is None
    probe(made.model, made.tokenize, kind)
    assert all(loss.isfinite() for loss in losses(made).values())


@pytest.mark.parametrize("kind", [k for k in ENCODERS if k != "T5EncoderModel"])
def test_a_length_that_the_encoder_lacks_is_refused(kind: str, tmp_path: Path) -> None:
    saved(tmp_path / "encoder", kind)
    limit = ENCODERS[kind][1]
    assert loaded(tmp_path / "encoder", f"model.max_length={limit}").tokenize.max_length == limit
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path / "encoder", f"model.max_length={limit + 1}")
    assert_tells(refusal.value, "model.max_length", f"to {limit} tokens", f"found {limit + 1}")


def test_a_directory_with_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    """The canary's file would be written by an import of the directory's module."""
    saved(tmp_path / "encoder", "BertModel")
    config = (tmp_path / "encoder" / "config.json").read_text()
    own = '{"auto_map": {"AutoConfig": "canary.C", "AutoModel": "canary.M"}, "model_type": "mine",'
    (tmp_path / "encoder" / "config.json").write_text(
        config.replace('"model_type": "bert"', '"was": 1').replace("{", own, 1)
    )
    sings = f"open({str(tmp_path / 'sung')!r}, 'w')\n"
    (tmp_path / "encoder" / "canary.py").write_text(sings)
    with pytest.raises(Exception, match="expected a transformers encoder"):
        loaded(tmp_path / "encoder")
    assert not (tmp_path / "sung").exists()
