"""Half precision: one scale for all rows, taken out before the method, overflows skipped."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.amp import GradScaler

from mtl_bert.surgery import Surgeon
from mtl_bert.training import build
from mtl_bert.training import step as step_file
from mtl_bert.training.build import Assembly, assemble, make_trainer
from tests.composing import settings_of
from tests.training.spoiling import spoil

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


def begin_with(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    """Have every run scale its losses, first by this."""
    monkeypatch.setattr(build, "_fp16_scaler", lambda _: GradScaler("cpu", init_scale=scale))


# On a CPU autocast knows fp16, too: slow, but the same program.
@pytest.mark.parametrize("surgery", ["pcgrad", "nash_mtl", "uncertainty", "gradnorm"])
def test_fp16_comes_close_to_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surgery: str
) -> None:
    begin_with(monkeypatch, 2.0**10)
    half = fit(tmp_path, "trainer.precision=16-mixed", f"surgery={surgery}", "model.dropout=0")
    full = fit(tmp_path, f"surgery={surgery}", "model.dropout=0")
    assert half.module.steps == full.module.steps == 10
    assert half.module.step_log.overflows == 0
    for task, loss in full.module.step_log.epoch.losses().items():
        assert half.module.step_log.epoch.losses()[task] == pytest.approx(loss, rel=0.02)
    assert all(p.dtype == torch.float32 for p in half.module.model.parameters())


@pytest.mark.parametrize("surgery", ["pcgrad", "nash_mtl", "uncertainty", "group_dro"])
def test_the_scale_is_gone_before_the_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surgery: str
) -> None:
    # In float64 a power of two costs no digit, so the scale must not be seen at all.
    chosen = ("trainer.precision=64-true", f"surgery={surgery}", "trainer.gradient_clip_val=0.1")
    plain = fit(tmp_path, *chosen)
    begin_with(monkeypatch, 2.0**12)  # also where the precision does not ask for it
    other = fit(tmp_path, *chosen)
    assert other.module.surgeon.scale.value == 2.0**12
    for name, value in plain.module.state_dict().items():
        torch.testing.assert_close(other.module.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_one_tasks_overflow_skips_the_step_and_halves_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[torch.Tensor] = []
    begin_with(monkeypatch, 2.0**10)
    spoil(monkeypatch, 2, 3, factor=float("inf"), only="sts")
    taken = step_file.seed_dropout

    def watched(*place: int) -> None:
        weights.append(parts.module.model.heads["sts"].weight.detach().clone())
        taken(*place)

    monkeypatch.setattr(step_file, "seed_dropout", watched)
    settings = settings_of(*SMALL, "trainer.precision=16-mixed")
    parts = assemble(settings)
    make_trainer(settings, tmp_path, [], []).fit(parts.module, parts.datamodule)
    module = parts.module
    assert (module.steps, module.step_log.overflows, module.step_log.skipped) == (10, 2, [])
    assert module.surgeon.scale.value == 2.0**8
    unchanged = [torch.equal(a, b) for a, b in itertools.pairwise(weights)]
    assert [step for step, same in enumerate(unchanged) if same] == [2, 3]


def test_clipping_acts_on_the_combined_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    real = Surgeon._update

    def update(self: Surgeon, optimizer: Any) -> None:
        real(self, optimizer)
        grads = [p.grad.norm() for p in self._parameters.values() if p.grad is not None]
        norms.append(float(torch.stack(grads).norm()))

    monkeypatch.setattr(Surgeon, "_update", update)
    fit(tmp_path, "trainer.gradient_clip_val=0.01", "surgery=pcgrad")
    assert norms == pytest.approx([0.01] * 10, rel=1e-3)
