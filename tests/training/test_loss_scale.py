import random

import pytest
import torch

from mtl_bert.training.optim import LossScale


@pytest.mark.filterwarnings("ignore:.*torch.cuda:UserWarning")
@pytest.mark.parametrize("seed", range(5))
def test_it_goes_as_torchs_grad_scaler_does(seed: int) -> None:
    rng, scale = random.Random(seed), LossScale(enabled=True)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.amp.GradScaler("cpu")
    for step in range(7000):
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
        scale = LossScale(True, scale.state())


def test_it_cannot_fall_below_one() -> None:
    scale = LossScale(enabled=True, state=(2.0, 5))
    assert scale.overflowed()
    assert not scale.overflowed()
    assert scale.state() == (1.0, 0)


def test_without_fp16_there_is_none() -> None:
    scale = LossScale(enabled=False)
    for _ in range(3000):
        scale.held()
    assert scale.value == 1
    assert not scale.overflowed()
