"""Every sampler with every surgery, in a loop of one's own: losses stay finite, weights move."""

import copy
import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from mtl_bert.runs.factories import make_sampler, make_surgery
from mtl_bert.sampling.history import Seen
from mtl_bert.sampling.loader import PlanLoader
from mtl_bert.surgery import Surgeon
from tests.cli.driving import SAMPLERS, SURGERIES
from tests.composing import sampler_words, settings_of, surgery_words

PAPER = {"sst": 8544, "qqp": 283_010, "sts": 6040}
SMALL = {"sst": 12, "qqp": 60, "sts": 9}
TRAINING = [name for name in SAMPLERS if name != "random"]


def data(sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    return {task: torch.randn(size, 4, generator=made) for task, size in sizes.items()}


@cache
def made(name: str) -> Any:
    words = [word for word in sampler_words(name, [*SMALL]) if not word.startswith("epochs=")]
    return make_sampler(settings_of(*words, "batch_size=4"))


@cache
def method(name: str) -> Any:
    made = make_surgery(settings_of(*surgery_words(name)))
    assert not made.method.memory
    return made


@pytest.mark.parametrize(
    ("sampler", "surgery"), [*itertools.product(TRAINING, SURGERIES)], ids="-".join
)
def test_in_a_loop_of_ones_own(sampler: str, surgery: str) -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 3), nn.ModuleDict({task: nn.Linear(3, 1) for task in SMALL})
    net = nn.ModuleDict({"trunk": trunk, "heads": heads})
    before = trunk.weight.detach().clone()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    surgeon = Surgeon(net, copy.deepcopy(method(surgery)))  # each begins with an empty memory
    loader = PlanLoader(data(SMALL), made(sampler), epochs=2, seed=1)
    for epoch in (1, 2):
        loader.set_epoch(epoch)
        for step in itertools.islice(loader, 4):
            with surgeon.step(optimizer, step.phase, epoch=epoch):
                for task, batch in step.batches.items():
                    surgeon.backward(task, (heads[task](trunk(batch)) - 1).square().mean())
            assert not surgeon.last.skipped
        loader.add_history({task: Seen(score=0.1 * epoch) for task in SMALL})
    assert not torch.equal(trunk.weight, before)
    assert all(parameter.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("sampler", TRAINING)
def test_at_the_papers_sizes_an_epoch_is_planned(sampler: str) -> None:
    loader = PlanLoader(data(PAPER), made(sampler), epochs=2, seed=1)
    loader.set_epoch(2)
    step = next(iter(loader))
    assert step.tasks
    assert len(loader) >= 6040 // 32
    assert all(0 < len(batch) for batch in step.batches.values())
