"""Benchmarks time what they say."""

from pathlib import Path

from benchmarks.measure import as_it_is
from benchmarks.throughput import Cut, ours, settings_of
from mtl_bert.training.build import assemble


def test_an_epoch_is_cut_to_the_steps_that_are_timed(tmp_path: Path) -> None:
    """``ours`` asserts the number of steps itself, each time it is called."""
    overrides = ["data=demo", "data.scale=0.01", "data.dev_limit=10", "sampler=arrp", "B=null"]
    whole = assemble(settings_of(overrides)).datamodule.plan(1)
    cut = Cut(whole, joint=2, alone=3)
    assert len(list(cut.steps())) == 5 < len(whole.steps)
    work = ours(overrides, cut, tmp_path)
    for _ in range(2):
        as_it_is(work)()
