"""What only a GPU can show: pytest -m cuda."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.attention import SDPBackend, sdpa_kernel

from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling import Phase, Step
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.surgery import (
    AveragedRows,
    GradientMatrix,
    PCGrad,
    Surgeon,
    Surgery,
    distributed,
)
from mtl_bert.training import build
from mtl_bert.training import run as running
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.training.step import take_step, task_loss
from tests.composing import settings_of
from tests.model.test_together import ENCODERS, make_model, ragged, rows
from tests.training.golden import Losses, losses

KIND, DEVICE = "gpu", "cuda"

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("default"),  # of drivers and libraries that others have chosen
]

PLAIN = (
    "data.scale=0.003",
    *(f"tasks.{task}.sources.demo.dev=8" for task in ("sst", "qqp", "sts")),
    "epochs=1",
    "batch_size=4",
    "seed=3",
    "model.dropout=0",
    "model.source.settings.hidden_dropout_prob=0",
    "model.source.settings.attention_probs_dropout_prob=0",
    "trainer.baseline=false",
)
SAMPLERS = {
    "arrp": ("B=20",),
    "rr": (),
    "annealed": ("B=18",),
    "vanilla": ("B=18",),
    "random": (),
    "full": ("data.limit=20",),
    "single": ("data.limit=20",),
}
SURGERIES = ("pcgrad", "upgrad", "none")
PRECISIONS = {"32-true": 1e-3, "bf16-mixed": 0.06, "16-mixed": 0.02}


def chosen(sampler: str, surgery: str) -> tuple[str, ...]:
    methods = () if sampler in ("full", "single") else (f"surgery={surgery}",)
    return (f"sampler={sampler}", *SAMPLERS[sampler], *methods, *PLAIN)


@cache
def on_a_cpu(sampler: str, surgery: str) -> Losses:
    return losses(Path(), *chosen(sampler, surgery), "trainer.accelerator=cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("surgery", SURGERIES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_trains_as_on_a_cpu(
    sampler: str, surgery: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if surgery == "upgrad":
        pytest.importorskip("qpsolvers")
    scaler = GradScaler(DEVICE, init_scale=2.0**10, enabled=precision == "16-mixed")
    monkeypatch.setattr(build, "_fp16_scaler", lambda _: scaler)  # one that skips no step
    told = (f"trainer.accelerator={KIND}", f"trainer.precision={precision}")
    found = losses(tmp_path, *chosen(sampler, surgery), *told)
    expected = on_a_cpu(sampler, surgery)
    assert len(found) == len(expected)
    assert len(expected) > 3 or sampler == "random"  # which trains nothing
    for number, (step, reference) in enumerate(zip(found, expected, strict=True)):
        for task, loss in reference.items():
            close = pytest.approx(loss, rel=PRECISIONS[precision], abs=PRECISIONS[precision])
            assert step[task] == close, (number, task)


@pytest.mark.parametrize("passes", ["one", "per_task"])
def test_a_run_that_breaks_off_goes_on_with_the_same_bits(
    passes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, whose generator is the GPU's own."""
    settings = settings_of(
        *PLAIN[:6],
        "sampler=arrp",
        "B=20",
        "trainer.save_steps=2",
        f"trainer.accelerator={KIND}",
        f"trainer.passes={passes}",
    )

    class BrokenOffError(Exception):
        pass

    take = MultiTaskModule.training_step

    def training_step(self: MultiTaskModule, step: Any, index: int) -> None:
        if self.steps == 5:
            raise BrokenOffError
        take(self, step, index)

    with sdpa_kernel(SDPBackend.MATH):  # the others may add up in another order each time
        whole = running.run(settings, tmp_path / "whole")
        monkeypatch.setattr(MultiTaskModule, "training_step", training_step)
        with pytest.raises(BrokenOffError):
            running.run(settings, tmp_path / "broken")
        monkeypatch.setattr(MultiTaskModule, "training_step", take)
        again = running.run(settings, tmp_path / "broken")
    states = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (whole, again)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def distance(ours: list[list[Tensor | None]], theirs: list[list[Tensor | None]]) -> float:
    """Of rows, relative to their length; they reach the same parameters."""
    pairs = []
    for row, other in zip(ours, theirs, strict=True):
        assert [entry is None for entry in row] == [entry is None for entry in other]
        pairs += [
            (a, b) for a, b in zip(row, other, strict=True) if a is not None and b is not None
        ]
    apart = sum(float((a.cpu().double() - b.double()).square().sum()) for a, b in pairs)
    return math.sqrt(apart / sum(float(b.double().square().sum()) for _, b in pairs))


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("kind", ENCODERS)
def test_packed_or_padded_in_one_pass_or_several_rows_are_the_cpus(
    kind: str, packs: bool, one: bool
) -> None:
    expected = rows(reference := make_model(kind).double(), ragged(reference), one=False)
    model = make_model(kind, packs=packs).to(DEVICE)
    batches = {task: batch.to(torch.device(DEVICE)) for task, batch in ragged(reference).items()}
    assert distance(rows(model, batches, one=one), expected) < 1e-4
    with torch.autocast(DEVICE, torch.bfloat16):
        assert distance(rows(model, batches, one=one), expected) < 0.08


def test_rows_that_nccl_has_averaged_are_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summed layer by layer from within the backward pass, as of a large model."""
    monkeypatch.setattr(distributed, "BUCKET", 1000)
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        grads = []
        for averaged in (True, False):
            model = make_model("bert").to(DEVICE)
            named = dict(model.named_parameters())
            reach = {task: [model.reaches(task, name) for name in named] for task in model.tasks}
            store = AveragedRows(list(named.values()), reach.__getitem__) if averaged else None
            matrix = GradientMatrix(list(named.values()), store)
            step = plan_step(model)
            matrix.start(dict.fromkeys(step.tasks, 1), by_layer=True)
            with matrix.one_pass(model.encoder, *model.sizes(step.batches)):
                outputs = model.together(step.batches)
                found = {t: task_loss(model, t, b, outputs[t]) for t, b in step.batches.items()}
                matrix.add_together(found, dict.fromkeys(found, 1.0))
            matrix.combine(Surgery(PCGrad(), "all", "mean"), torch.Generator().manual_seed(0))
            grads.append([p.grad for p in named.values()])
    finally:
        dist.destroy_process_group()
    for a, b in zip(*grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def plan_step(model: MultiTaskModel, phase: Phase | None = None, *tasks: str) -> PlanStep[Any]:
    """A step with the tasks' batches on the device."""
    batches = {t: b.to(torch.device(DEVICE)) for t, b in ragged(model).items()}
    parts = {t: [Part(b, 1.0)] for t, b in batches.items() if t in (tasks or batches)}
    plan = Step(phase or Phase("rr"), {task: np.arange(1) for task in parts})
    return PlanStep(1, 0, plan, parts)


@contextmanager
def waits() -> Iterator[list[str]]:
    """Where the host waits for the GPU."""
    found: list[str] = []
    with catch_warnings(record=True) as caught:
        simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [f"{w.filename}:{w.lineno}" for w in caught if "synchronizing CUDA" in str(w.message)]


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("one_pass", [True, False])
def test_a_step_waits_once_for_the_gram_matrix_and_without_surgery_never(
    one_pass: bool, packs: bool, half: bool
) -> None:
    model = make_model("bert", packs=packs).to(DEVICE)
    surgeon = Surgeon(model, PCGrad(), gradient_clip_val=1.0, reach=model.reaches)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    joint = plan_step(model)
    alone = plan_step(model, Phase("finetune", surgery=False, lambda_=0.5), "pair")
    with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
        for step in (joint, alone):  # the first time, rooms and moments are made
            take_step(model, surgeon, optimizer, step, seed=1, one_pass=one_pass)
        torch.cuda.synchronize()
        for step, expected in ((joint, 1), (alone, 0)):
            with waits() as found:
                take_step(model, surgeon, optimizer, step, seed=1, one_pass=one_pass)
            assert len(found) == expected, found
