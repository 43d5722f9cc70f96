import torch

from mtl_bert.training.losses import LossMeter


def test_means_over_the_epoch_and_since_the_last_reading() -> None:
    meter = LossMeter()
    for value in (1.0, 3.0):
        meter.add("a", torch.tensor(value))
    assert meter.recent() == {"a": 2.0}
    meter.add("a", torch.tensor(8.0))
    meter.add("b", torch.tensor(5.0))
    assert meter.recent() == {"a": 8.0, "b": 5.0}
    assert meter.recent() == {}
    assert meter.epoch() == {"a": 4.0, "b": 5.0}
