"""Properties of bucketed plans, for every kind of plan; the least padding is found by trying."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.sampling import ARRP, Annealed, Epoch, Full, Phase, RoundRobin, Step, Vanilla
from mtl_bert.sampling.epoch import Rows
from mtl_bert.sampling.length_grouping import Lengths, grouped_by_length

SIZES = {"a": 37, "b": 90, "c": 20}
SAMPLERS = (
    RoundRobin(4),
    RoundRobin(8, B=60),  # smaller tasks start over: rows are repeated
    ARRP(4, B=30),
    Annealed(4),
    Vanilla(3),
    Full(8),
)
plans = st.builds(
    lambda sampler, epoch: sampler(SIZES, epoch, 3, 1), st.sampled_from(SAMPLERS), st.integers(1, 3)
)
windows = st.integers(2, 60)
seeds = st.integers(0, 9)


def some_lengths(seed: int, most: int = 12) -> Lengths:
    rng = np.random.default_rng(seed)
    return {task: rng.integers(1, most, size) for task, size in SIZES.items()}


def shape(step: Step) -> tuple[Phase, list[tuple[str, int]]]:
    """Everything of a step but which rows it has."""
    return step.phase, [(task, len(rows)) for task, rows in step.rows.items()]


def used(steps: tuple[Step, ...]) -> Counter[tuple[str, int]]:
    """How often each row of each task is used."""
    return Counter((t, row) for s in steps for t, rows in s.rows.items() for row in rows.tolist())


def padding(plan: Epoch, lengths: Lengths) -> int:
    """Padding tokens, counted one batch after another."""
    total = 0
    for step in plan.steps:
        for task, rows in step.rows.items():
            longest = max(lengths[task][row] for row in rows)
            total += sum(int(longest - lengths[task][row]) for row in rows)
    return total


def same(a: Epoch, b: Epoch) -> bool:
    return len(a.steps) == len(b.steps) and all(
        shape(x) == shape(y) and all(np.array_equal(x.rows[t], y.rows[t]) for t in x.rows)
        for x, y in zip(a.steps, b.steps, strict=True)
    )


@given(plan=plans, window=windows, seed=seeds)
def test_each_window_of_a_phase_keeps_its_steps_and_its_examples(
    plan: Epoch, window: int, seed: int
) -> None:
    after = grouped_by_length(plan, some_lengths(seed), window, seed)
    assert (after.number, after.notes) == (plan.number, plan.notes)
    assert [shape(step) for step in after.steps] == [shape(step) for step in plan.steps]
    at = 0
    for _, steps in plan.phases():
        for start in range(0, len(steps), window):
            part = steps[start : start + window]
            assert used(after.steps[at : at + len(part)]) == used(part)
            at += len(part)
    assert at == len(after.steps)


@given(plan=plans, window=windows, seed=seeds)
def test_batches_of_a_window_do_not_overlap_in_length(plan: Epoch, window: int, seed: int) -> None:
    lengths = some_lengths(seed)
    after = grouped_by_length(plan, lengths, window, seed)
    for _, steps in after.phases():
        for start in range(0, len(steps), window):
            part = steps[start : start + window]
            for task in SIZES:
                each = [lengths[task][step.rows[task]] for step in part if task in step.rows]
                ends = sorted((int(some.min()), int(some.max())) for some in each)
                assert all(a[1] <= b[0] for a, b in pairwise(ends))


@given(batches=st.integers(2, 20), window=windows, seed=seeds, most=st.integers(2, 40))
def test_padding_is_never_more_where_batches_are_of_one_size(
    batches: int, window: int, seed: int, most: int
) -> None:
    lengths = some_lengths(seed, most)
    plan = RoundRobin(4, B=4 * batches)(SIZES, 1, 3, seed)
    assert padding(grouped_by_length(plan, lengths, window, seed), lengths) <= padding(
        plan, lengths
    )


@given(st.lists(st.integers(1, 9), min_size=6, max_size=6), seeds)
def test_no_other_deal_of_a_window_has_less_padding(lengths: list[int], seed: int) -> None:
    phase, known = Phase("p"), {"a": np.array(lengths)}

    def dealt(rows: tuple[int, ...]) -> Epoch:
        parts = np.array(rows).reshape(3, 2)
        return Epoch(1, tuple(Step(phase, {"a": part}) for part in parts))

    least = min(padding(dealt(order), known) for order in permutations(range(6)))
    assert padding(grouped_by_length(dealt(tuple(range(6))), known, 3, seed), known) == least


@given(plan=plans, window=windows, seed=seeds)
def test_a_batch_keeps_the_order_of_the_plan(plan: Epoch, window: int, seed: int) -> None:
    """A batch in order of length would always give the longest texts to the last process."""
    after = grouped_by_length(plan, some_lengths(seed), window, seed)
    at = 0
    for _, steps in plan.phases():
        for start in range(0, len(steps), window):
            part = steps[start : start + window]
            for task in SIZES:
                before = [row for step in part for row in step.rows.get(task, ())]
                if len(set(before)) == len(before):  # a repeated row has two places
                    place = {row: number for number, row in enumerate(before)}
                    for step in after.steps[at : at + len(part)]:
                        places = [place[row] for row in step.rows.get(task, ())]
                        assert places == sorted(places)
            at += len(part)


@given(plan=plans, window=windows, seed=seeds)
def test_the_same_again_is_the_same(plan: Epoch, window: int, seed: int) -> None:
    lengths = some_lengths(seed)
    first = grouped_by_length(plan, lengths, window, seed)
    assert same(first, grouped_by_length(plan, lengths, window, seed))
    whole = grouped_by_length(plan, lengths, len(plan.steps) + 1, seed)
    assert same(whole, grouped_by_length(plan, lengths, len(plan.steps) + 99, seed))


def places_of_the_longest(epoch: int, seed: int, task: str = "b", **more: int) -> list[int]:
    """The steps that get a window's batches, from the longest on: 9 batches of all lengths."""
    sizes = {task: 90, **more}
    lengths = {name: np.arange(size) for name, size in sizes.items()}
    plan = Full(10)({task: 90}, epoch, 3, 1)
    after = grouped_by_length(plan, lengths, 9, seed)
    longest: Rows = np.array([step.rows[task].max() for step in after.steps])
    return np.argsort(-longest).tolist()


def test_which_step_gets_which_batch_goes_by_seed_epoch_and_task_alone() -> None:
    first = places_of_the_longest(1, 1)
    assert sorted(first) == list(range(9))
    assert first != places_of_the_longest(2, 1)
    assert first != places_of_the_longest(1, 2)
    assert first != places_of_the_longest(1, 1, "c")
    assert first == places_of_the_longest(1, 1, another=5)
    firsts = {places_of_the_longest(1, seed)[0] for seed in range(60)}
    assert firsts == set(range(9))


def test_texts_of_one_length_meet_others_in_each_epoch() -> None:
    lengths = {"b": np.repeat([3, 9], 45)}
    met = [
        {
            frozenset(step.rows["b"].tolist())
            for step in grouped_by_length(Full(5)({"b": 90}, epoch, 3, 1), lengths, 18, 1).steps
        }
        for epoch in (1, 2)
    ]
    assert not met[0] & met[1]
