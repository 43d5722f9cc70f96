"""The loader's batches are the plan's rows, whoever shares, resumes or prefetches them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_bert.sampling import ARRP, Annealed, Epoch, Phase, RoundRobin, Step, Vanilla
from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.length_grouping import grouped_by_length
from mtl_bert.sampling.loader import PlanLoader, PlanStep, moved

SIZES = {"a": 23, "b": 9, "c": 5}
DATA = {task: torch.arange(size) + 100 * k for k, (task, size) in enumerate(SIZES.items())}
SAMPLERS = [ARRP(3, B=7), RoundRobin(4), Vanilla(2), Annealed(2, B=8)]


def loader(sampler: Any = SAMPLERS[0], **options: Any) -> PlanLoader[Any]:
    return PlanLoader(DATA, sampler, **{"epochs": 3, "seed": 5, **options})


def rows(step: PlanStep[Tensor]) -> dict[str, list[int]]:
    """What the step's batches hold, as row numbers."""
    return {task: (batch - DATA[task][0]).tolist() for task, batch in step.batches.items()}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_the_batches_are_the_plan_s(sampler: Any, workers: int) -> None:
    made = loader(sampler, num_workers=workers)
    for epoch in (1, 3):
        made.set_epoch(epoch)
        plan = sampler(SIZES, epoch, 3, 5)
        assert len(made) == len(plan.steps)
        for number, (step, planned) in enumerate(zip(made, plan.steps, strict=True)):
            assert (step.epoch, step.number, step.phase) == (epoch, number, planned.phase)
            assert step.tasks == tuple(planned.rows)
            assert rows(step) == {task: r.tolist() for task, r in planned.rows.items()}
            assert step.shares == dict.fromkeys(planned.rows, 1.0)


@settings(max_examples=25, deadline=None)
@given(
    sampler=st.sampled_from(SAMPLERS),
    world=st.integers(1, 4),
    parts=st.integers(1, 3),
)
def test_processes_and_parts_share_a_step(sampler: Any, world: int, parts: int) -> None:
    whole = loader(sampler)
    shared = [
        loader(sampler, rank=rank, world_size=world, accumulate_grad_batches=parts)
        for rank in range(world)
    ]
    for one, *several in zip(whole, *shared, strict=True):
        for task, batch in one.batches.items():
            of_task = [part for step in several for part in step.parts[task]]
            assert torch.equal(torch.cat([part.batch for part in of_task]), batch)
            assert sum(part.share for part in of_task) == pytest.approx(1)
            assert all(part.share == len(part.batch) / len(batch) for part in of_task)
        assert all(step.tasks == one.tasks for step in several)


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_it_goes_on_after_the_last_step_that_was_done(done: int) -> None:
    whole = [rows(step) for step in loader()]
    first = loader()
    first.set_epoch(1)
    list(itertools.islice(first, done))
    again = loader()
    again.load_state_dict(first.state_dict())
    again.set_epoch(1)  # a loop over epochs calls this first
    assert (again.steps_left, len(again)) == (len(whole) - done, len(whole))
    assert [rows(step) for step in again] == whole[done:]
    again.set_epoch(2)
    assert len(again) == len(loader().plan(2).steps)
    assert next(iter(again)).number == 0


def test_what_a_model_draws_goes_on_with_torch_s_state() -> None:
    """To begin an epoch in the middle draws nothing from the generator of dropout."""

    def drawn(steps: Iterable[PlanStep[list[int]]]) -> list[float]:
        return [torch.rand(()).item() for _ in steps]

    torch.manual_seed(3)
    whole, first, again = drawn(loader()), loader(), loader()
    torch.manual_seed(3)
    assert drawn(itertools.islice(first, 2)) == whole[:2]
    states = first.state_dict(), torch.get_rng_state()
    torch.rand(5)
    again.load_state_dict(states[0])
    torch.set_rng_state(states[1])
    assert drawn(again) == whole[2:]


def test_a_state_after_an_epoch_s_last_step_is_the_next_epoch_s_beginning() -> None:
    first, again = loader(), loader()
    list(first)
    again.load_state_dict(first.state_dict())
    assert (again.epoch, again.steps_left) == (2, len(again))
    first.set_epoch(3)
    list(first)
    again.load_state_dict(first.state_dict())
    assert list(range(again.epoch, again.epochs + 1)) == []  # a loop over epochs has nothing to do
    assert (len(again), list(again)) == (0, [])


def test_looking_at_a_first_batch_costs_none() -> None:
    made = loader()
    next(iter(made))
    assert [step.number for step in made] == list(range(len(made)))


def test_whoever_resumes_something_else_is_told() -> None:
    state = loader().state_dict()
    for other in (loader(seed=6), loader(RoundRobin(3)), loader(ARRP(3, B=6))):
        with pytest.raises(ValueError, match="a state of the same sampler, seed, epochs and sizes"):
            other.load_state_dict(state)
    loader(ARRP(3, B=7)).load_state_dict(state)


def test_any_function_is_a_sampler() -> None:
    def backwards(sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        phase = Phase("mine")
        steps = [Step(phase, {t: np.arange(n)[::-1][:2]}) for t, n in sizes.items()]
        return Epoch(epoch, tuple(steps), ("a note",))

    assert [rows(step) for step in loader(backwards)] == [
        {"a": [22, 21]},
        {"b": [8, 7]},
        {"c": [4, 3]},
    ]


def test_grouped_by_length_are_the_same_examples() -> None:
    lengths = {task: np.arange(size)[::-1] for task, size in SIZES.items()}
    made = loader(group_by_length=3, lengths=lengths)
    expected = grouped_by_length(SAMPLERS[0](SIZES, 1, 3, 5), lengths, 3, 5)
    assert [rows(step) for step in made] == [
        {task: r.tolist() for task, r in step.rows.items()} for step in expected.steps
    ]


class Whole(list[int]):
    """A data set that is asked for all rows at once."""

    def __getitems__(self, rows: Sequence[int]) -> list[int]:
        return [-row for row in rows]


def test_collation_is_torch_s_or_one_s_own() -> None:
    data: dict[str, Any] = {"a": [{"x": 1.0, "y": [k]} for k in range(4)], "b": Whole(range(4))}
    made: PlanLoader[Any] = PlanLoader(
        data, RoundRobin(2), epochs=1, collate_fn={"a": torch.utils.data.default_collate, "b": list}
    )
    step = next(iter(made))
    assert step.batches["a"]["x"].tolist() == [1.0, 1.0]
    planned = made.plan().steps[0].rows
    assert step.batches["a"]["y"][0].tolist() == planned["a"].tolist()
    assert step.batches["b"] == [-row for row in planned["b"].tolist()]


class Pair(NamedTuple):
    x: Tensor
    name: str


def test_a_step_moves_to_a_device_with_all_it_holds() -> None:
    batch = {"pair": Pair(torch.ones(2), "n"), "list": [torch.ones(1)], "tuple": (torch.ones(1), 3)}
    there = moved(batch, "meta")
    assert there["pair"].x.device.type == there["list"][0].device.type == "meta"
    assert (there["pair"].name, there["tuple"][1]) == ("n", 3)
    step = next(iter(loader())).to("meta")
    assert {batch.device.type for batch in step.batches.values()} == {"meta"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": {}}, "datasets: expected at least one example"),
        ({"datasets": {"a": []}}, "a: expected at least one example, found none"),
        ({"epochs": 0}, "epochs: expected a whole number ≥ 1, found 0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches: expected a whole number"),
        ({"shuffle": True}, "found shuffle; give the sampler its batch_size"),
        ({"batch_size": 4}, "found batch_size; give the sampler its batch_size"),
        ({"group_by_length": 4}, "lengths: expected the length of every example"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    chosen = {"datasets": DATA, "sampler": SAMPLERS[0], "epochs": 1, **change}
    with pytest.raises(ValueError, match=message) as raised:
        PlanLoader(**chosen)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("epoch", [0, 4])
def test_epochs_are_those_of_the_run(epoch: int) -> None:
    with pytest.raises(ValueError, match=f"an epoch from 1 to 3, found {epoch}; count epochs from"):
        loader().set_epoch(epoch)


def test_several_batches_of_a_task_are_no_batch() -> None:
    step = next(iter(loader(accumulate_grad_batches=2)))
    with pytest.raises(ValueError, match=r"go through step\.parts"):
        step.batches  # noqa: B018


def test_an_epoch_that_comes_again_unasked_is_told() -> None:
    made = loader()
    first = [rows(step) for step in made]
    with pytest.warns(UserWarning, match=r"epoch 1 again, .*; write loader.set_epoch\(epoch\)"):
        assert [rows(step) for step in made] == first
    made.set_epoch(1)  # somebody means it: no warning
    assert [rows(step) for step in made] == first


def test_limits_of_tasks_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="max_repeats: expected tasks of a, b, c, found 'd'"):
        loader(max_repeats={"d": 2})
