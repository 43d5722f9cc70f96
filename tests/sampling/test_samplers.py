"""Properties of the plans; tests/training compares them with hand-written loops."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl_bert.sampling import ARRP, Annealed, Full, RoundRobin, Single, Untrained, Vanilla
from mtl_bert.sampling.annealed import alpha
from mtl_bert.sampling.epoch import Epoch, rows_used

PAPER = {"sts": 6040, "sst": 8544, "qqp": 283_010}

some_sizes = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 80), min_size=1, max_size=4
)
batches = st.integers(1, 12)
budgets = st.one_of(st.none(), st.integers(1, 150))


def used(plan: Epoch, task: str) -> list[int]:
    return rows_used(plan.steps, task).tolist()


def assert_rows_exist(plan: Epoch, sizes: dict[str, int]) -> None:
    for step in plan.steps:
        assert step.rows
        for task, rows in step.rows.items():
            assert len(rows)
            assert rows.min() >= 0
            assert rows.max() < sizes[task]


# Vanilla


@given(sizes=some_sizes, batch_size=batches, seed=st.integers(0, 5))
def test_vanilla_without_b_uses_every_example_once(
    sizes: dict[str, int], batch_size: int, seed: int
) -> None:
    plan = Vanilla(batch_size)(sizes, 1, 3, seed)
    assert_rows_exist(plan, sizes)
    assert {task: sorted(used(plan, task)) for task in sizes} == {
        task: list(range(size)) for task, size in sizes.items()
    }
    full = batch_size * len(sizes)
    assert [step.examples for step in plan.steps[:-1]] == [full] * (len(plan.steps) - 1)


@given(sizes=some_sizes, batch_size=batches, B=st.integers(1, 150), per_step=st.integers(1, 3))
def test_vanilla_takes_b_over_batch_size_steps(
    sizes: dict[str, int], batch_size: int, B: int, per_step: int
) -> None:
    plan = Vanilla(batch_size, B, batches_per_step=per_step)(sizes, 1, 3, 1)
    assert_rows_exist(plan, sizes)
    assert len(plan.steps) == math.ceil(B / batch_size)
    assert sum(step.examples for step in plan.steps) == B * per_step
    assert bool(plan.notes) == (B * per_step > sum(sizes.values()))


def test_vanilla_draws_k_batches_a_step_as_the_papers_times_say() -> None:
    plan = Vanilla(8, 16_000)(PAPER, 1, 10, 1)
    assert len(plan.steps) == 2000
    assert {step.examples for step in plan.steps} == {24}


def test_vanilla_is_dominated_by_the_largest_task() -> None:
    plan = Vanilla(8, 56_000)(PAPER, 1, 10, 1)
    expected = 168_000 * PAPER["qqp"] / sum(PAPER.values())
    assert len(used(plan, "qqp")) == pytest.approx(expected, rel=0.01)


# Annealed


def test_alpha_falls_from_1_to_a_fifth() -> None:
    assert [alpha(e, 5) for e in range(1, 6)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert alpha(1, 1) == 1.0


def test_probabilities_are_proportional_to_powers_of_the_sizes() -> None:
    a = alpha(7, 10)
    weights = [N**a for N in PAPER.values()]
    expected = [w / sum(weights) for w in weights]
    np.testing.assert_allclose(Annealed(8).task_probabilities(PAPER, 7, 10), expected, rtol=1e-12)


def test_annealed_batches_follow_the_probabilities() -> None:
    sizes, epoch, epochs = {"a": 50, "b": 400, "c": 3000}, 3, 4
    plan = Annealed(1, 20_000, batches_per_step=1)(sizes, epoch, epochs, 1)
    drawn = [len(used(plan, task)) for task in sizes]
    expected = Annealed(1).task_probabilities(sizes, epoch, epochs) * 20_000
    assert stats.chisquare(drawn, expected).pvalue > 1e-3


@given(sizes=some_sizes, batch_size=batches, B=budgets, epoch=st.integers(1, 3))
def test_annealed_plans_are_batches_of_one_task_dealt_without_replacement(
    sizes: dict[str, int], batch_size: int, B: int | None, epoch: int
) -> None:
    plan = Annealed(batch_size, B)(sizes, epoch, 3, 1)
    assert_rows_exist(plan, sizes)
    K, draws = len(sizes), sum(sizes.values()) if B is None else B * len(sizes)
    assert sum(step.examples for step in plan.steps) == draws
    assert len(plan.steps) == math.ceil(draws / (batch_size * K))
    for step in plan.steps[:-1]:
        assert all(len(rows) % batch_size == 0 for rows in step.rows.values())
    restarted = {task for task, size in sizes.items() if len(used(plan, task)) > size}
    for task, size in sizes.items():
        rows = used(plan, task)
        assert len(set(rows[:size])) == len(rows[:size])
    assert {note.split()[0] for note in plan.notes} == restarted


# Round-robin


@given(sizes=some_sizes, batch_size=batches)
def test_round_robin_without_b_exhausts_the_smallest_task_and_repeats_nothing(
    sizes: dict[str, int], batch_size: int
) -> None:
    plan = RoundRobin(batch_size)(sizes, 1, 3, 1)
    assert_rows_exist(plan, sizes)
    smallest = min(sizes.values())
    assert len(plan.steps) == math.ceil(smallest / batch_size)
    for task in sizes:
        assert len(used(plan, task)) == len(set(used(plan, task))) == smallest
    assert all(set(step.rows) == set(sizes) for step in plan.steps)
    assert not plan.notes


@given(sizes=some_sizes, batch_size=batches, B=st.integers(1, 150))
def test_round_robin_with_b_gives_every_task_b_examples_and_says_who_starts_over(
    sizes: dict[str, int], batch_size: int, B: int
) -> None:
    plan = RoundRobin(batch_size, B)(sizes, 1, 3, 1)
    assert len(plan.steps) == math.ceil(B / batch_size)
    assert {len(used(plan, task)) for task in sizes} == {B}
    assert {note.split()[0] for note in plan.notes} == {t for t, N in sizes.items() if N < B}


# ARRP


@given(sizes=some_sizes, batch_size=batches, B=budgets, seed=st.integers(0, 3))
def test_arrp_fine_tunes_the_largest_task_on_what_round_robin_left(
    sizes: dict[str, int], batch_size: int, B: int | None, seed: int
) -> None:
    plan = ARRP(batch_size, B, lambda_=0.3)(sizes, 2, 3, seed)
    assert_rows_exist(plan, sizes)
    rr = RoundRobin(batch_size)(sizes, 2, 3, seed)
    joint, alone = plan.steps[: len(rr.steps)], plan.steps[len(rr.steps) :]
    for step, expected in zip(joint, rr.steps, strict=True):
        assert step.phase == expected.phase
        assert {t: r.tolist() for t, r in step.rows.items()} == {
            t: r.tolist() for t, r in expected.rows.items()
        }
    largest = max(sizes, key=lambda task: sizes[task])
    left = sizes[largest] - min(sizes.values())
    wanted = left if B is None else min(B, left)
    rows = rows_used(alone, largest).tolist()
    assert len(rows) == len(set(rows)) == wanted
    assert not set(rows) & set(used(rr, largest))
    assert len(alone) == math.ceil(wanted / batch_size)
    capped = B is not None and left < B
    expected = ["RR left no example"] if not left else ["is capped at the"] if capped else []
    assert [piece in note for piece, note in zip(expected, plan.notes, strict=True)] == [
        True for _ in expected
    ]
    for step in alone:
        assert list(step.rows) == [largest]
        assert (step.phase.name, step.phase.surgery) == ("finetune", False)
        assert (step.phase.lambda_, step.phase.lambda_on) == (0.3, "loss")


def test_arrp_epochs_of_the_paper() -> None:
    plan = ARRP(8, 24_000)(PAPER, 1, 10, 1)
    assert [(phase.name, len(steps)) for phase, steps in plan.phases()] == [
        ("rr", 755),
        ("finetune", 3000),
    ]


def test_arrp_can_scale_the_update_instead_of_the_loss() -> None:
    plan = ARRP(8, 16, lambda_=0.3, lambda_on="update")({"a": 9, "b": 90}, 1, 1, 1)
    phase = plan.steps[-1].phase
    assert (phase.lambda_, phase.lambda_on) == (0.3, "update")


def test_arrp_names_the_largest_task_in_what_it_freezes() -> None:
    plan = ARRP(8, 16, freeze=["*", "!heads.{task}.*"])({"a": 9, "b": 90}, 1, 1, 1)
    assert plan.steps[0].phase.frozen == ()
    assert plan.steps[-1].phase.frozen == ("*", "!heads.b.*")


# Full finetuning and the baselines


@given(sizes=some_sizes, batch_size=batches)
def test_full_goes_through_each_task_alone(sizes: dict[str, int], batch_size: int) -> None:
    plan = Full(batch_size)(sizes, 1, 3, 1)
    assert [phase.name for phase, _ in plan.phases()] == [f"full:{task}" for task in sizes]
    assert not any(phase.surgery for phase, _ in plan.phases())
    for task, size in sizes.items():
        assert sorted(used(plan, task)) == list(range(size))


def test_the_order_of_full_is_a_setting() -> None:
    plan = Full(4, order=["b", "a"])({"a": 3, "b": 5}, 1, 1, 1)
    assert [phase.name for phase, _ in plan.phases()] == ["full:b", "full:a"]
    with pytest.raises(ValueError, match=r"sampler\.order: expected each of a, b once, found b"):
        Full(4, order=["b"])({"a": 3, "b": 5}, 1, 1, 1)


def test_single_is_full_on_an_encoder_per_task() -> None:
    sizes = {"a": 3, "b": 5}
    rows = [
        [{t: r.tolist() for t, r in step.rows.items()} for step in sampler(4)(sizes, 1, 1, 1).steps]
        for sampler in (Full, Single)
    ]
    assert rows[0] == rows[1]
    assert [step.phase.name for step in Single(8)(sizes, 1, 1, 1).steps] == ["single:a", "single:b"]


def test_untrained_sees_nothing() -> None:
    assert Untrained()({"a": 3}, 1, 1, 1).steps == ()


# All of them


@pytest.mark.parametrize("sampler", [Vanilla(4, 40), Annealed(4, 40), RoundRobin(4), ARRP(4, 12)])
def test_a_plan_is_a_function_of_its_arguments(sampler: Vanilla) -> None:
    sizes = {"a": 20, "b": 90}

    def rows(seed: int, epoch: int) -> list[dict[str, list[int]]]:
        steps = sampler(sizes, epoch, 3, seed).steps
        return [{t: r.tolist() for t, r in step.rows.items()} for step in steps]

    assert rows(1, 1) == rows(1, 1)
    assert rows(1, 1) != rows(2, 1)
    assert rows(1, 1) != rows(1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vanilla(0), "batch_size: expected a whole number ≥ 1, found 0"),
        (lambda: Annealed(8, -1), "B: expected a whole number ≥ 1 or null, found -1"),
        (lambda: RoundRobin(8, 2.5), "B: expected a whole number ≥ 1 or null, found 2.5"),
        (lambda: ARRP(8, 1, math.nan), "lambda: expected a finite number ≥ 0, found nan"),
        (lambda: ARRP(8, 1, -0.1), "lambda: expected a finite number ≥ 0, found -0.1"),
        (lambda: ARRP(8, 1, lambda_on="lr"), "sampler.lambda_on: expected loss or update"),
        (lambda: Full(True), "batch_size: expected a whole number ≥ 1, found True"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        make()  # type: ignore[operator]
    assert str(refused.value).startswith(message)
    assert "; write " in str(refused.value)


def test_rr_uses_what_table_1_says() -> None:
    plan = RoundRobin(8)(PAPER, 1, 10, 1)
    share = {task: len(set(used(plan, task))) / size for task, size in PAPER.items()}
    assert {t: round(100 * s, 1) for t, s in share.items()} == {
        "sts": 100.0,
        "sst": 70.7,
        "qqp": 2.1,
    }
    assert Counter(len(step.rows) for step in plan.steps) == {3: 755}
