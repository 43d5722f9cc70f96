"""The fp16 scale of all tasks' losses moves as torch's GradScaler would move it."""

import random

import pytest
import torch
from torch.amp import GradScaler

from mtl_bert.surgery.update import SharedScale, scaled_update


@pytest.mark.filterwarnings("ignore:.*torch.cuda:UserWarning")
@pytest.mark.parametrize("seed", range(5))
def test_it_goes_as_torchs_grad_scaler_does(seed: int) -> None:
    rng, scaler = random.Random(seed), GradScaler("cpu")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = GradScaler("cpu")
    for step in range(7000):
        scale = SharedScale(scaler)
        # A few overflows far apart, so that the scale also grows, but never below 1.
        finite = step not in (10, 3000, 3001) and rng.random() > 1e-4
        parameter.grad = torch.tensor([1.0 if finite else float("inf")])
        theirs.scale(torch.ones(1))
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        if finite:
            scale.held()
        else:
            assert scale.overflowed()
        assert scale.value == theirs.get_scale()


def test_it_cannot_fall_below_one() -> None:
    scale = SharedScale(GradScaler("cpu", init_scale=2.0))
    assert scale.overflowed()
    assert not scale.overflowed()
    assert scale.value == 1


@pytest.mark.parametrize("scaler", [None, GradScaler("cpu", enabled=False)])
def test_without_fp16_there_is_none(scaler: GradScaler | None) -> None:
    scale = SharedScale(scaler)
    scale.held()
    assert scale.value == 1
    assert not scale.in_use
    assert not scale.overflowed()


def test_a_scaled_update_that_fails_leaves_the_learning_rate_as_it_was() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    with pytest.raises(ZeroDivisionError), scaled_update(optimizer, 0.1):  # noqa: PT012
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
        raise ZeroDivisionError
    assert optimizer.param_groups[0]["lr"] == 0.5
