"""Frozen encoders, adapters and patterns: in a run moves what shall, and nothing else does."""

from pathlib import Path

import pytest
import torch

from mtl_bert.runs.results import RunFolder
from mtl_bert.surgery.freezing import FreezeError
from mtl_bert.tracking.loggers import run_labels
from mtl_bert.training.build import assemble, make_trainer
from mtl_bert.training.callbacks.recorder import Recorder
from tests.cli.driving import SMALL
from tests.composing import settings_of
from tests.factories import assert_tells

JOINT = ("sampler=rr", "surgery=pcgrad")
RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pals and the encoder": (("model.adapter=pals", *JOINT), ("encoder.", "adapters.", "heads.")),
    "pals alone": (
        ("model.adapter=pals", "model.freeze_encoder=true", *JOINT), ("adapters.", "heads."),
    ),
    "heads alone, and nothing shared": (("model.freeze_encoder=true", *JOINT), ("heads.",)),
    "lora alone": (("model.adapter=lora", *JOINT), ("lora", "heads.")),
    "lora of each task": (("model.adapter=lora_per_task", *JOINT), ("lora", "heads.")),
    "lora and the encoder": (
        ("model.adapter=lora", "model.freeze_encoder=false", *JOINT), ("encoder.", "heads."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_what_shall_moves(name: str, tmp_path: Path) -> None:
    if "lora" in name:
        pytest.importorskip("peft")
    overrides, wanted = RUNS[name]
    parts = assemble(settings_of(*SMALL, *overrides))
    model = parts.module.model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_trainer(settings_of(*SMALL, *overrides), tmp_path).fit(parts.module, parts.datamodule)
    moving = sum(p.numel() for n, p in model.named_parameters() if not torch.equal(p, before[n]))
    recorder = Recorder(RunFolder(tmp_path), settings_of(*SMALL, *overrides), parts)
    assert 0 < moving <= recorder.trained
    assert recorder.trained == sum(
        value.numel()
        for parameter, value in before.items()
        if ("lora" if ".lora_" in parameter and "lora" in wanted else parameter).startswith(wanted)
    )
    for parameter, value in model.named_parameters():
        kind = "lora" if ".lora_" in parameter and "lora" in wanted else parameter
        moved = not torch.equal(value, before[parameter])
        assert moved == kind.startswith(wanted), parameter


def test_a_phase_can_leave_the_encoder_and_train_a_tasks_layers(tmp_path: Path) -> None:
    """ARRP's fine-tuning phase of a run that has no other: the large task's parts move alone."""
    overrides = ("model.adapter=pals", "sampler=arrp", "B=16", "freeze=['encoder.*']")
    parts = assemble(settings_of(*SMALL, *overrides))
    plan = parts.datamodule.plan(1)
    (_, phase) = [steps[0].phase for _, steps in plan.phases()]
    assert phase.frozen == ("encoder.*",)
    make_trainer(settings_of(*SMALL, *overrides), tmp_path).fit(parts.module, parts.datamodule)
    for task, of in parts.module.model.adapters.items():
        assert all(parameter.grad is None or task == "sst" for parameter in of.parameters())


def test_nothing_left_to_train_is_refused() -> None:
    overrides = ("model.adapter=pals", "model.freeze_encoder=true", "sampler=arrp", "B=16")
    with pytest.raises(FreezeError) as refusal:
        assemble(settings_of(*SMALL, *overrides, "freeze=['adapters.*','heads.*']"))
    assert_tells(refusal.value, "freeze")


def test_loggers_filter_by_the_adapter(tmp_path: Path) -> None:
    settings = settings_of(*SMALL, "model.adapter=pals")
    data = assemble(settings).data
    assert "adapter=pals" in run_labels(settings, data, tmp_path).tags
    tags = run_labels(settings_of(*SMALL), data, tmp_path).tags
    assert not any(tag.startswith("adapter") for tag in tags)
