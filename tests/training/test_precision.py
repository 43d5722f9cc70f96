"""Half precision: one scale for all rows, taken out before the method, overflows skipped."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.module import MultiTaskModule
from tests.composing import settings_of

SMALL = (
    "task=[sst,sts]",
    "data.scale=0.01",
    "epochs=1",
    "batch_size=6",
    "sampler=rr",
    "B=60",
    "tasks.sst.sources.demo.dev=12",
    "tasks.sts.sources.demo.dev=12",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
)


def fit(directory: Path, *overrides: str) -> Assembly:
    settings = settings_of(*SMALL, *overrides)
    parts = assemble(settings)
    make_trainer(settings, directory, [], []).fit(parts.module, parts.datamodule)
    return parts


# On a CPU autocast knows fp16, too: slow, but the same program.
@pytest.mark.parametrize("surgery", ["pcgrad", "nash_mtl", "uncertainty", "gradnorm"])
def test_fp16_comes_close_to_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surgery: str
) -> None:
    monkeypatch.setattr("mtl_bert.training.optim.LARGEST", 2.0**10)
    half = fit(tmp_path, "trainer.precision=16-mixed", f"surgery={surgery}", "model.dropout=0")
    full = fit(tmp_path, f"surgery={surgery}", "model.dropout=0")
    assert half.module.steps == full.module.steps == 10
    assert half.module.overflows == 0
    for task, loss in full.module.losses.epoch().items():
        assert half.module.losses.epoch()[task] == pytest.approx(loss, rel=0.02)
    assert all(p.dtype == torch.float32 for p in half.module.model.parameters())


@pytest.mark.parametrize("surgery", ["pcgrad", "nash_mtl", "uncertainty", "group_dro"])
def test_the_scale_is_gone_before_the_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surgery: str
) -> None:
    # In float64 a power of two costs no digit, so the scale must not be seen at all.
    chosen = ("trainer.precision=64-true", f"surgery={surgery}", "trainer.gradient_clip_val=0.1")
    plain = fit(tmp_path, *chosen)
    monkeypatch.setattr("mtl_bert.training.optim.LARGEST", 2.0**12)
    real = MultiTaskModule.__init__

    def scaled(self: MultiTaskModule, *args: Any, **settings: Any) -> None:
        real(self, *args, **{**settings, "fp16": True})

    monkeypatch.setattr(MultiTaskModule, "__init__", scaled)
    other = fit(tmp_path, *chosen)
    assert other.module._scale.value == 2.0**12
    for name, value in plain.module.state_dict().items():
        torch.testing.assert_close(other.module.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_one_tasks_overflow_skips_the_step_and_halves_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MultiTaskModule._loss
    weights: list[torch.Tensor] = []
    monkeypatch.setattr("mtl_bert.training.optim.LARGEST", 2.0**10)

    def loss(self: MultiTaskModule, task: str, batch: Any) -> torch.Tensor:
        if task == "sst":
            weights.append(self.model.heads["sts"].weight.detach().clone())
        value = real(self, task, batch)
        return value * float("inf") if self.steps in (2, 3) and task == "sts" else value

    monkeypatch.setattr(MultiTaskModule, "_loss", loss)
    module = fit(tmp_path, "trainer.precision=16-mixed").module
    assert (module.steps, module.overflows, module.skipped) == (10, 2, [])
    assert module._scale.value == 2.0**8
    unchanged = [torch.equal(a, b) for a, b in itertools.pairwise(weights)]
    assert [step for step, same in enumerate(unchanged) if same] == [2, 3]


def test_clipping_acts_on_the_combined_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    real = MultiTaskModule._update

    def update(self: MultiTaskModule, *rest: Any) -> None:
        step = self.trainer.optimizers[0].step

        def measured(*args: Any, **settings: Any) -> Any:
            grads = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
            norms.append(float(torch.stack(grads).norm()))
            return step(*args, **settings)

        monkeypatch.setattr(self.trainer.optimizers[0], "step", measured)
        real(self, *rest)
        monkeypatch.setattr(self.trainer.optimizers[0], "step", step)

    monkeypatch.setattr(MultiTaskModule, "_update", update)
    fit(tmp_path, "trainer.gradient_clip_val=0.01", "surgery=pcgrad")
    assert norms == pytest.approx([0.01] * 10, rel=1e-3)
