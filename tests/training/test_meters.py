"""What is noted of steps, added up; and that noting it changes nothing."""

import json
from pathlib import Path

import pytest
import torch

from mtl_bert.surgery import Sum
from mtl_bert.surgery.diagnostics import diagnose
from mtl_bert.surgery.methods.base import StepStats, weights_of
from mtl_bert.training import step_log
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.meters import EpochSums, layer_groups
from tests.composing import settings_of

SMALL = (
    "data.scale=0.004",
    "epochs=1",
    "batch_size=6",
    "sampler=arrp",
    "B=30",
    *(f"tasks.{task}.sources.demo.dev=9" for task in ("sst", "qqp", "sts")),
)


def step(*rows: list[float], tasks: str = "ab"):  # type: ignore[no-untyped-def]
    J = torch.tensor(rows, dtype=torch.float64)
    seen = StepStats(tuple(tasks), J @ J.T, torch.zeros(len(J), dtype=torch.float64))
    return diagnose(seen, weights_of(Sum(), seen))


def filled() -> EpochSums:
    meter = EpochSums()
    meter.add("joint", step([1.0, 0.0], [0.0, 2.0]))
    layers = {"layer 0": torch.tensor([[1.0, -1.0], [-1.0, 4.0]])}
    meter.add("joint", step([1.0, 0.0], [-3.0, 0.0]), layers)
    meter.add("joint", step([2.0, 0.0], tasks="b"))  # a step that only one task is in
    assert meter.several == 2
    meter.add_alone("alone", "b", 7.0)
    return meter


def test_means_by_phase() -> None:
    joint = filled().phases["joint"].conflicts()
    assert (joint.steps, joint.several) == (3, 2)
    assert joint.conflicting == 0.5  # of the two steps that had two tasks
    assert joint.removed == 0
    pair = joint.pairs["a/b"]
    assert (pair.steps, pair.cosine, pair.conflicting) == (2, -0.5, 0.5)
    assert (joint.tasks["a"].steps, joint.tasks["b"].steps) == (2, 3)
    assert joint.tasks["b"].norm == pytest.approx((2 + 3 + 2) / 3)
    # 1/5, then −1 · −2/4 = −1/2.
    assert joint.tasks["a"].share == pytest.approx((0.2 - 0.5) / 2)
    alone = filled().phases["alone"].conflicts()
    assert (alone.pairs, alone.tasks["b"].norm, alone.tasks["b"].share) == ({}, 7.0, 1.0)


def test_layers_by_phase() -> None:
    phases = filled().phases
    assert phases["joint"].pairs_by_layer()["layer 0"]["a/b"].cosine == -0.5
    assert phases["alone"].pairs_by_layer() == {}


def test_the_share_of_the_epoch_so_far() -> None:
    assert EpochSums().share() is None
    assert filled().share() == 0.5


def test_metrics_since_the_last_reading() -> None:
    meter = filled()
    metrics = meter.recent()
    assert metrics["conflict/share"] == 0.5
    assert metrics["layers/layer-0/a-b"] == -0.5
    assert metrics["conflict/cosine/a-b"] == -0.5
    assert metrics["conflict/norm/b"] == pytest.approx((2 + 3) / 2)  # steps with several tasks
    shares = [metrics[f"conflict/update_share/{task}"] for task in "ab"]
    assert sum(shares) == pytest.approx(1)
    assert meter.recent() == {}
    assert meter.share() == 0.5  # the epoch's goes on
    meter.add_alone("alone", "b", 7.0)
    assert meter.recent() == {}  # nothing that could conflict


def test_a_meter_goes_on_from_another() -> None:
    state = json.loads(json.dumps(filled().model_dump()))
    other = EpochSums(**state)
    assert other == filled()
    assert other.recent() == filled().recent()
    other.add_alone("alone", "b", 9.0)
    assert other.phases["alone"].conflicts().tasks["b"].norm == 8.0


def test_losses_over_the_epoch_and_since_the_last_reading() -> None:
    meter = EpochSums()
    for value in (1.0, 3.0):
        meter.add_losses({"a": value})
    assert meter.recent() == {"train/loss/a": 2.0}
    meter.add_losses({"a": 8.0, "b": 5.0})
    other = EpochSums(**meter.model_dump())
    for each in (meter, other):
        assert each.recent() == {"train/loss/a": 8.0, "train/loss/b": 5.0}
        assert each.recent() == {}
        assert each.losses() == {"a": 4.0, "b": 5.0}


def test_the_parts_of_an_encoder_by_name() -> None:
    names = [
        "encoder.embeddings.word_embeddings.weight",
        "encoder.embeddings.LayerNorm.bias",
        "encoder.encoder.layer.0.attention.self.query.weight",
        "encoder.encoder.layer.10.output.dense.bias",
        "encoder.transformer.layer.1.ffn.lin1.weight",
        "encoder.pooler.dense.weight",
        "encoder.final_norm.weight",
        "encoder.encoder.block.2.layer.1.DenseReluDense.wi.weight",  # T5's: the sublayer comes last
        "heads.sst.weight",
    ]
    assert layer_groups(names) == {
        "embeddings": names[:2], "layer 0": names[2:3], "layer 10": names[3:4],
        "layer 1": names[4:5], "pooler": names[5:6], "rest": names[6:7], "layer 2": names[7:8],
    }  # fmt: skip
    assert layer_groups(["encoders.sst.embeddings.weight"]) == {}  # nothing is shared


def trained(place: Path, *more: str) -> Assembly:
    settings = settings_of(*SMALL, *more)
    parts = assemble(settings)
    make_trainer(settings, place, [], []).fit(parts.module, parts.datamodule)
    return parts


def test_looking_changes_no_bit_and_sees_every_joint_step(tmp_path: Path) -> None:
    plain = trained(tmp_path).module
    looking = trained(tmp_path, "trainer.layers_every=1").module
    for name, value in plain.state_dict().items():
        assert torch.equal(looking.state_dict()[name], value), name
    phases = looking.step_log.epoch.phases
    joint, alone = (phases[phase].conflicts() for phase in ("rr", "finetune"))
    assert (joint.steps, alone.steps) == (4, 5)
    assert set(joint.pairs) == {"sst/qqp", "sst/sts", "qqp/sts"}
    assert sum(part.share for part in joint.tasks.values()) == pytest.approx(1)
    assert set(alone.tasks) == {"qqp"}
    layers = phases["rr"].pairs_by_layer()
    assert list(layers) == ["embeddings", "layer 0", "pooler"]
    assert all(pair.steps == 4 for pairs in layers.values() for pair in pairs.values())
    assert plain.step_log.epoch.phases["rr"].layers == {}


def test_not_looking_at_all_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = trained(tmp_path).module
    monkeypatch.setattr(step_log, "diagnose", lambda *_: None)
    monkeypatch.setattr(EpochSums, "add", lambda *_: None)
    blind = trained(tmp_path).module
    assert (looking.step_log.epoch.several, blind.step_log.epoch.several) == (4, 0)
    for name, value in blind.state_dict().items():
        assert torch.equal(looking.state_dict()[name], value), name


@pytest.mark.parametrize(("every", "steps"), [(2, 2), (3, 2), (4, 1)])
def test_joint_steps_are_counted_from_the_first_of_each_epoch(
    every: int, steps: int, tmp_path: Path
) -> None:
    # Four joint steps and five of one task in each epoch; what is left is the second's.
    found = trained(tmp_path, f"trainer.layers_every={every}", "epochs=2").module.step_log.epoch
    layers = found.phases["rr"].pairs_by_layer()
    assert {pair.steps for pairs in layers.values() for pair in pairs.values()} == {steps}
