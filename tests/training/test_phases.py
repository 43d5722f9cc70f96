"""What a phase does to parameters: frozen ones stay, λ scales what it says."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from mtl_bert.data.batch import Batch
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.build import assemble, make_trainer
from mtl_bert.training.module import MultiTaskModule
from tests.composing import settings_of

SMALL = (
    "data.scale=0.003",
    "epochs=1",
    "batch_size=6",
    "B=30",
    *(f"tasks.{task}.sources.demo.dev=8" for task in ("sst", "qqp", "sts")),
)


class Watch(Callback):
    """Copies of all parameters after every step, and which of them had a gradient."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.weights: list[dict[str, Tensor]] = []
        self.with_gradient: list[set[str]] = []
        self.rates: list[float] = []

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        outputs: object,
        batch: PlanStep[Batch],
        _: int,
    ) -> None:
        named = dict(module.model.named_parameters())
        self.phases.append(batch.phase.name)
        self.weights.append({name: p.detach().clone() for name, p in named.items()})
        self.with_gradient.append({name for name, p in named.items() if p.grad is not None})
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def watched(tmp_path: Path, *overrides: str) -> Watch:
    settings = settings_of(*SMALL, *overrides)
    parts, watch = assemble(settings), Watch()
    make_trainer(settings, tmp_path, [], [watch]).fit(parts.module, parts.datamodule)
    return watch


def test_frozen_parameters_have_no_gradient_and_do_not_move_by_a_bit(tmp_path: Path) -> None:
    watch = watched(tmp_path, "freeze=all_but_head", "optimizer.weight_decay=0.1")
    last_joint = watch.phases.count("rr") - 1
    assert watch.phases[last_joint + 1 :] == ["finetune"] * 5
    names = set(watch.weights[0])
    head = {name for name in names if name.startswith("heads.qqp.")}
    for number in range(last_joint + 1, len(watch.phases)):
        assert watch.with_gradient[number] == head
        for name in names:
            same = torch.equal(watch.weights[number][name], watch.weights[number - 1][name])
            assert same == (name not in head), name
    # Before that, everything moves: there is momentum and decay to be kept out of the phase.
    assert watch.with_gradient[last_joint] == names
    moved = [
        name
        for name in names
        if not torch.equal(watch.weights[0][name], watch.weights[last_joint][name])
    ]
    assert set(moved) == names


def test_parameters_thaw_in_the_next_epoch(tmp_path: Path) -> None:
    watch = watched(tmp_path, "freeze=['encoder.*']", "epochs=2")
    second = watch.phases.index("rr", watch.phases.index("finetune"))
    assert watch.with_gradient[second] == set(watch.weights[0])


def test_other_tasks_heads_stay_in_the_fine_tuning_phase(tmp_path: Path) -> None:
    watch = watched(tmp_path, "freeze=none")
    assert watch.phases[-1] == "finetune"
    untouched = {name for name in watch.weights[0] if name not in watch.with_gradient[-1]}
    assert untouched == {n for n in watch.weights[0] if n.startswith(("heads.sst.", "heads.sts."))}
    for name in untouched:
        assert torch.equal(watch.weights[-1][name], watch.weights[-2][name])


def distance(watch: Watch) -> float:
    """How far the fine-tuning phase moved the encoder."""
    start = watch.phases.count("rr") - 1
    pairs = zip(watch.weights[start].values(), watch.weights[-1].values(), strict=True)
    return float(sum(((b - a) ** 2).sum() for a, b in pairs)) ** 0.5


def test_lambda_on_the_update_scales_it_and_gives_the_rate_back(tmp_path: Path) -> None:
    full = watched(tmp_path, "lambda=1", "sampler.lambda_on=update")
    tenth = watched(tmp_path, "lambda=0.1", "sampler.lambda_on=update")
    none = watched(tmp_path, "lambda=0", "sampler.lambda_on=update")
    assert distance(tenth) == pytest.approx(0.1 * distance(full), rel=0.15)
    assert distance(none) == 0.0
    assert set(tenth.rates) == set(full.rates)


def test_lambda_on_the_loss_is_all_but_cancelled_by_adamw(tmp_path: Path) -> None:
    full, tenth = watched(tmp_path, "lambda=1"), watched(tmp_path, "lambda=0.1")
    assert 0.1 * distance(full) < 0.6 * distance(tenth)
    assert distance(tenth) != distance(full)


def test_lambda_on_the_loss_scales_a_plain_gradient_step(tmp_path: Path) -> None:
    sgd = ("~optimizer", "+optimizer._target_=torch.optim.SGD", "+optimizer._partial_=true")
    rate = ("+optimizer.lr=1e-3", "model.dropout=0", "B=6")
    full, half = (watched(tmp_path, f"lambda={x}", *sgd, *rate) for x in (1, 0.5))
    assert full.phases[-2:] == ["rr", "finetune"]
    assert distance(half) == pytest.approx(0.5 * distance(full), rel=1e-4)


def test_clipping_bounds_the_combined_gradient(tmp_path: Path) -> None:
    sgd = ("~optimizer", "+optimizer._target_=torch.optim.SGD", "+optimizer._partial_=true")
    watch = watched(tmp_path, *sgd, "+optimizer.lr=1", "trainer.gradient_clip_val=0.01", "epochs=1")
    pairs = zip(watch.weights[-2].values(), watch.weights[-1].values(), strict=True)
    step = float(sum(((b - a) ** 2).sum() for a, b in pairs)) ** 0.5
    assert step == pytest.approx(0.01, rel=1e-3)


def test_a_linear_schedule_ends_at_zero(tmp_path: Path) -> None:
    watch = watched(tmp_path, "scheduler=linear", "scheduler.warmup_ratio=0", "lr=0.01")
    steps = len(watch.rates)
    assert watch.rates == pytest.approx([0.01 * (1 - (n + 1) / steps) for n in range(steps)])
