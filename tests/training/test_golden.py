"""Losses step by step against those that were noted, and every fast way against the plain one."""

import json
from pathlib import Path

import pytest

from tests.training.golden import SAMPLERS, Losses, losses

GOLDEN: dict[str, Losses] = json.loads(
    Path(__file__).with_name("golden.json").read_text(encoding="utf-8")
)

EACH = ("trainer.passes=per_task",)  # one pass for all draws other dropout masks
PLAIN = ("trainer.packing=false", "optimizer.fused=false")

FAST = {
    "as it is": (),
    "padded": ("trainer.packing=false",),
    "a plain optimizer": ("optimizer.fused=false",),
    "in parts": ("batch_size=2", "trainer.accumulate_grad_batches=4"),
    "workers": ("trainer.num_workers=1",),
}


def assert_same(found: Losses, expected: Losses) -> None:
    assert len(found) == len(expected)
    for number, (step, golden) in enumerate(zip(found, expected, strict=True)):
        assert step.keys() == golden.keys(), number
        for task, loss in step.items():
            assert loss == pytest.approx(golden[task], rel=1e-7), (number, task)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_losses_are_the_golden_ones(sampler: str, tmp_path: Path) -> None:
    assert_same(losses(tmp_path, *SAMPLERS[sampler], *EACH, *PLAIN), GOLDEN[sampler])


@pytest.mark.parametrize("way", FAST)
def test_every_fast_way_gives_the_golden_losses(way: str, tmp_path: Path) -> None:
    assert_same(losses(tmp_path, *SAMPLERS["arrp"], *EACH, *FAST[way]), GOLDEN["arrp"])


def test_the_golden_losses_are_of_a_run_that_learns_something() -> None:
    first, last = GOLDEN["arrp"][0], GOLDEN["arrp"][-6:]
    assert first.keys() == {"sst", "qqp", "sts"}
    assert min(step["qqp"] for step in last if "qqp" in step) < first["qqp"]
    assert GOLDEN["arrp"] != GOLDEN["arrp_f1"]  # Θ' frozen trains another model
