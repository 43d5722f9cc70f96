from mtl_bert.training.meters import LossMeter


def test_means_over_the_epoch_and_since_the_last_reading() -> None:
    meter = LossMeter()
    for value in (1.0, 3.0):
        meter.add("a", value)
    assert meter.recent() == {"a": 2.0}
    meter.add("a", 8.0)
    meter.add("b", 5.0)
    assert meter.recent() == {"a": 8.0, "b": 5.0}
    assert meter.recent() == {}
    assert meter.epoch() == {"a": 4.0, "b": 5.0}


def test_a_meter_goes_on_from_another() -> None:
    meter = LossMeter()
    meter.add("a", 1.0)
    meter.recent()
    meter.add("a", 4.0)
    other = LossMeter(meter.state())
    assert other.recent() == {"a": 4.0}
    assert other.epoch() == {"a": 2.5}
