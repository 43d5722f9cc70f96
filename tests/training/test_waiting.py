"""How often a device is waited for, and that reading late changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtl_bert.surgery import GradientMatrix, PCGrad, Surgery
from mtl_bert.surgery.update import skipped_if
from mtl_bert.training import step_log
from mtl_bert.training.build import Assembly, assemble, make_trainer
from mtl_bert.training.divergence import DivergedError
from tests.composing import settings_of
from tests.training.spoiling import spoil

SMALL = (
    "data.scale=0.004",
    "epochs=2",
    "batch_size=6",
    "sampler=arrp",
    "B=48",
    *(f"tasks.{task}.sources.demo.dev=21" for task in ("sst", "qqp", "sts")),
)


class Grad(torch.optim.Optimizer):
    """Stands for a fused optimizer, on a device that has none."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})
        self.told: list[Tensor] = []

    def step(self, closure: Any = None) -> None:
        self.told.append(self.found_inf)  # type: ignore[attr-defined]


def test_a_step_with_one_task_reads_nothing_from_the_device() -> None:
    """On the meta device nothing can be read: whatever tried to would raise."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        loss = net(torch.empty(3, 4)).square().mean()
    with pytest.raises(RuntimeError):
        loss.item()
    matrix, optimizer = GradientMatrix(list(net.parameters())), Grad(net.parameters())
    matrix.start(["a"])
    matrix.add("a", loss, 0.5, 2.0)
    alone = matrix.alone(2.0)
    with skipped_if(alone.missing, optimizer) as possible:
        assert possible
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert alone.tasks == ("a",)
    assert [told.device.type for told in optimizer.told] == ["meta"]
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in net.parameters())


def test_surgery_reads_once_whatever_the_number_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5))
    matrix = GradientMatrix(list(net.parameters()))
    matrix.start(["a", "b", "c", "d", "e"])
    for k, task in enumerate("abcde"):
        matrix.add(task, net(torch.randn(3, 4))[:, k].square().mean())
    fetched: list[Tensor] = []
    cpu = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda self: fetched.append(self) or cpu(self))
    matrix.combine(Surgery(PCGrad(), "shared", "mean"), torch.Generator().manual_seed(0))
    assert len(fetched) == 1


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_must_not_be_taken_leaves_weights_and_moments(fused: bool) -> None:
    nets = [nn.Linear(3, 1) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [torch.optim.AdamW(net.parameters(), lr=0.1, fused=fused) for net in nets]
    x = torch.ones(2, 3)
    for number, bad in enumerate([False, True, False]):
        for which, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            if bad and which == 1:
                continue  # the second is never told of the step
            optimizer.zero_grad()
            (net(x).sum() * (float("nan") if bad else 1 + number)).backward()
            with skipped_if(torch.tensor(bad), optimizer) as possible:
                if possible:
                    optimizer.step()
            assert not hasattr(optimizer, "found_inf")
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)
        for name, value in optimizers[0].state[a].items():
            assert torch.equal(value, optimizers[1].state[b][name]), name


def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: int, *more: str) -> Assembly:
    monkeypatch.setattr(step_log, "UNREAD", {"cpu": unread})
    settings = settings_of(*SMALL, *more)
    parts = assemble(settings)
    make_trainer(settings, tmp_path, [], []).fit(parts.module, parts.datamodule)
    return parts


def test_reading_late_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 7, 8, 15)
    now, late = (trained(tmp_path, monkeypatch, unread).module for unread in (1, 16))
    for name, value in now.state_dict().items():
        assert torch.equal(late.state_dict()[name], value), name
    assert late.step_log.epoch.losses() == now.step_log.epoch.losses()
    assert late.step_log.skipped == now.step_log.skipped
    assert len(now.step_log.skipped) == 3


def test_a_run_that_diverges_ends_at_the_next_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, *range(5, 100))
    with pytest.raises(DivergedError, match="in 3 steps in a row"):
        trained(tmp_path, monkeypatch, 4, "trainer.skip_limit=3")
