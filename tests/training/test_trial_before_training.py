"""What a run tries before it trains, and what its encoder brings frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_bert.model import Tiny
from mtl_bert.surgery.freezing import FreezeError
from mtl_bert.training.build import assemble, make_trainer
from mtl_bert.utils.errors import UserError
from tests.composing import settings_of
from tests.factories import assert_tells

SMALL = (
    "data.scale=0.003",
    "epochs=1",
    "batch_size=6",
    "trainer.cache=false",
    *(f"tasks.{task}.sources.demo.dev=9" for task in ("sst", "qqp", "sts")),
)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("tasks.sst.loss.reduction=none", "tasks.sst.loss"),
        ("tasks.sst.metric.average=none", "tasks.sst.metric"),
        ("tasks.qqp.loss._target_=torch.nn.MSELoss", "tasks.qqp.loss"),
        ("model.source.settings.is_decoder=true", "pooled state"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_data_is_read(
    chosen: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtl_bert.data.corpus.Corpus.read", None)
    with pytest.raises(UserError) as refused:
        assemble(settings_of(*SMALL, f"+{chosen}" if "settings" in chosen else f"++{chosen}"))
    assert_tells(refused.value, told)


def test_a_loss_with_a_tensor_trains_in_double_precision_on_an_area(tmp_path: Path) -> None:
    settings = settings_of(
        *SMALL,
        "sampler=rr",
        "trainer.precision=64-true",
        "+tasks.qqp.loss.pos_weight={_target_: torch.tensor, data: [3.0]}",
        "tasks.qqp.metric._target_=torchmetrics.classification.BinaryAUROC",
    )
    parts = assemble(settings)
    make_trainer(settings, tmp_path).fit(parts.module, parts.datamodule)
    assert parts.module.evaluation is not None
    predictions, labels, confidence = parts.module.evaluation.answers["qqp"]
    read = torch.where(predictions == 1, confidence, 1 - confidence)
    ones, zeros = read[labels == 1], read[labels == 0]
    above = (ones[:, None] > zeros).double() + (ones[:, None] == zeros).double() / 2
    score = parts.module.evaluation.scores.tasks["qqp"]
    assert score.value == pytest.approx(above.mean().item())
    assert len(set(read.tolist())) > 2


def frozen(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the tiny encoder come with parts frozen, as adapters' encoders do."""
    make = Tiny.encoder

    def encoder(self: Tiny) -> Any:
        made = make(self)
        for name in names:
            made.get_submodule(name).requires_grad_(False)
        return made

    monkeypatch.setattr(Tiny, "encoder", encoder)


@pytest.mark.parametrize("freeze", ["none", "all_but_head", "['encoder.pooler.*']"])
def test_what_comes_frozen_is_never_trained(
    freeze: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen(monkeypatch, "embeddings", "encoder.layer.0.attention")
    settings = settings_of(*SMALL, "sampler=arrp", "B=18", f"freeze={freeze}")
    parts = assemble(settings)
    model = parts.module.model
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = make_trainer(settings, tmp_path)
    trainer.fit(parts.module, parts.datamodule)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert fixed
    assert moved == set(before) - fixed
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == fixed
    given = [p for group in trainer.optimizers[0].param_groups for p in group["params"]]
    assert len(given) == len(before) - len(fixed)


def test_that_nothing_is_left_to_train_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(monkeypatch, "")
    with pytest.raises(FreezeError) as refused:
        assemble(settings_of(*SMALL, "sampler=arrp", "B=18", "freeze=['heads.*']"))
    assert_tells(refused.value, "freeze", "heads.*")
