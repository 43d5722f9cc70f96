"""LoRA against the formula, in all ways through the encoder, and merged."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtl_bert.config.settings import TrainerSettings
from mtl_bert.model import ModelError, MultiTaskModel
from mtl_bert.model.adapters import Adapter
from mtl_bert.model.lora import SHARED, lora_layers, merge
from mtl_bert.training.passes import passes
from tests.factories import assert_tells
from tests.model.test_packing import make_batch
from tests.model.test_together import make_model, ragged, rows

SIZE, ALPHA = 3, 6


def lora(kind: str = "lora", **more: Any) -> Adapter:
    pytest.importorskip("peft")
    return Adapter(kind, size=SIZE, alpha=ALPHA, **more)


def awake(model: MultiTaskModel) -> MultiTaskModel:
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def changed_by_hand(model: MultiTaskModel, name: str, kind: str = "bert") -> nn.Module:
    """The encoder as it came, W + α / r · B A in the place of queries' and values' W."""
    plain = make_model(kind).encoder.double().eval()
    weights = dict(model.encoder.named_parameters())
    for place in lora_layers(model.encoder):
        assert place.endswith((".query", ".value", ".q_lin", ".v_lin"))
        A, B = (weights[f"{place}.lora_{m}.{name}.weight"] for m in "AB")
        with torch.no_grad():
            plain.get_parameter(f"{place}.weight").add_(ALPHA / SIZE * B @ A)
    return plain


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("kind", ["lora", "lora_per_task"])
@pytest.mark.parametrize("encoder", ["bert", "roberta", "distilbert"])
def test_it_is_what_the_formula_says(encoder: str, kind: str, packs: bool) -> None:
    model = awake(make_model(encoder, packs=packs, adapter=lora(kind))).double().eval()
    batch = make_batch([7, 3, 12], model.encoder)
    found: list[Tensor] = []
    for task in ("one", "other", "one"):
        plain = make_model(encoder)
        plain.encoder = changed_by_hand(model, SHARED if kind == "lora" else task, encoder)  # type: ignore[assignment]
        found.append(model.pooled(task, batch))
        torch.testing.assert_close(
            found[-1], plain.eval().pooled(task, batch), rtol=1e-9, atol=1e-10
        )
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[0], found[1]) == (kind == "lora")


@pytest.mark.parametrize("frozen", [None, False])
@pytest.mark.parametrize("kind", ["lora", "lora_per_task"])
def test_rows_have_what_is_trained_and_a_task_reaches(kind: str, frozen: bool | None) -> None:
    found = []
    for packs, one in ((False, False), (True, False), (True, True)):
        model = make_model("bert", packs=packs, adapter=lora(kind), freeze_encoder=frozen)
        awake(model).double()
        if one:
            assert passes(TrainerSettings(passes="one"), model, 9e9).one == (kind == "lora")
            one = kind == "lora"
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        own = [name for name in trained if not name.startswith("heads.") and ".lora_" not in name]
        assert bool(own) is (frozen is False)
        found.append(rows(model, ragged(model), one=one, parameters=[*trained.values()]))
        assert all(p.requires_grad for p in trained.values())
    for way in found[1:]:
        for task, row, expected in zip(("one", "pair", "other"), way, found[0], strict=True):
            for name, a, b in zip(trained, row, expected, strict=True):
                assert (a is not None) == (b is not None) == model.reaches(task, name), name
                if a is not None and b is not None:
                    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("kind", ["lora", "lora_per_task"])
def test_merged_it_is_an_encoder_like_any_other(kind: str) -> None:
    model = awake(make_model("bert", adapter=lora(kind))).double().eval()
    batch = make_batch([7, 3, 12], model.encoder)
    expected = model.pooled("other", batch)
    merge(model.encoder, SHARED if kind == "lora" else "other")
    plain = make_model("bert").double().eval()
    plain.encoder.load_state_dict(model.encoder.state_dict())
    torch.testing.assert_close(plain.pooled("other", batch), expected, rtol=1e-9, atol=1e-10)


def test_the_encoder_begins_as_it_came() -> None:
    model, plain = make_model("bert", adapter=lora()).eval(), make_model("bert").eval()
    batch = make_batch([7, 3, 12], model.encoder)
    assert torch.equal(model("one", batch), plain("one", batch))


def test_layers_can_be_chosen() -> None:
    model = make_model("bert", adapter=lora(layers=(1,)))
    assert all("layer.1." in name for name in lora_layers(model.encoder))


def test_layers_that_are_not_there_are_refused() -> None:
    for layers in ((1, 99), (12,)):
        with pytest.raises(ModelError) as refusal:
            make_model("bert", adapter=lora(layers=layers))
        assert_tells(
            refusal.value, "model.adapter_layers: expected some of 0 to 1", str(layers[-1])
        )


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError) as refusal:
        make_model("bert", adapter=Adapter("lora"))
    assert_tells(refusal.value, "mtl-bert[lora]")
