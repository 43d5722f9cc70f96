"""Mixtures: their probabilities in closed form, their plans against loops written by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl_bert.sampling import (
    ARRP,
    Annealed,
    DevGap,
    Downsample,
    Epoch,
    FixedMixture,
    RoundRobin,
    Sampler,
    Temperature,
    Tiers,
    TwoStage,
    UniMax,
    Vanilla,
)
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.mixture import Mixture
from mtl_bert.utils.validation import SamplerError
from tests.training import loops

PAPER = {"sts": 6040, "sst": 8544, "qqp": 283_010}
some_sizes = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 80), min_size=1, max_size=4
)


def as_lists(plan: Epoch) -> loops.Steps:
    return [
        (step.phase.name, {task: rows.tolist() for task, rows in step.rows.items()})
        for step in plan.steps
    ]


@settings(deadline=None, max_examples=40)
@given(
    sizes=some_sizes, batch=st.integers(1, 9), B=st.integers(1, 90), seed=st.integers(0, 3),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 5.0, math.inf]),
    cap=st.one_of(st.none(), st.integers(1, 60)),
)  # fmt: skip
def test_temperature_against_a_loop(
    sizes: dict[str, int], batch: int, B: int, seed: int, temperature: float, cap: int | None
) -> None:
    weights = [min(N, cap or N) ** (1 / temperature) for N in sizes.values()]
    p = [weight / sum(weights) for weight in weights]
    sampler = Temperature(batch, B, temperature=temperature, cap=cap)
    expected = loops.mixture("temperature", p, sizes, 2, seed, batch, B)
    assert as_lists(sampler(sizes, 2, 3, seed)) == expected


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1, [N / 297_594 for N in PAPER.values()]), (math.inf, [1 / 3] * 3)],
)
def test_temperature_one_is_proportional_and_infinity_uniform(
    temperature: float, expected: list[float]
) -> None:
    p = Temperature(8, temperature=temperature).task_probabilities(PAPER, 1, 1)
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def unimax_by_hand(sizes: dict[str, int], budget: float, repeats: float) -> list[float]:
    """The paper's algorithm, task after task in rising size."""
    used: dict[str, float] = {}
    rising = sorted(sizes.items(), key=lambda item: item[1])
    for place, (task, size) in enumerate(rising):
        fair = budget / (len(rising) - place)
        used[task] = repeats * size if fair > repeats * size else fair
        budget -= used[task]
    return [used[task] / sum(used.values()) for task in sizes]


@given(
    sizes=some_sizes, B=st.integers(1, 500),
    repeats=st.floats(0.1, 10, allow_nan=False),
)  # fmt: skip
def test_unimax_against_the_papers_algorithm(sizes: dict[str, int], B: int, repeats: float) -> None:
    p = UniMax(4, B, max_repeats=repeats).task_probabilities(sizes, 1, 1)
    np.testing.assert_allclose(p, unimax_by_hand(sizes, B * len(sizes), repeats), rtol=1e-9)
    assert (p > 0).all()


def test_unimax_repeats_the_small_tasks_as_often_as_allowed_and_no_more() -> None:
    p = UniMax(8, max_repeats=4).task_probabilities(PAPER, 1, 1) * sum(PAPER.values())
    np.testing.assert_allclose(p, [4 * 6040, 4 * 8544, 297_594 - 4 * (6040 + 8544)], rtol=1e-12)
    even = UniMax(8, 2000, max_repeats=4).task_probabilities(PAPER, 1, 1)
    np.testing.assert_allclose(even, [1 / 3] * 3)


def test_fixed_draws_as_it_is_told() -> None:
    plan = FixedMixture(1, 20_000, 1, probabilities={"b": 0.2, "a": 0.7, "c": 0.1})(
        {"a": 50, "b": 400, "c": 3000}, 1, 1, 1
    )
    drawn = [len(rows_used(plan.steps, task)) for task in "abc"]
    assert stats.chisquare(drawn, [14_000, 4_000, 2_000]).pvalue > 1e-3


def test_a_task_with_probability_zero_is_left_out() -> None:
    plan = FixedMixture(2, probabilities={"a": 1, "b": 0})({"a": 9, "b": 9}, 1, 1, 1)
    assert {task for step in plan.steps for task in step.rows} == {"a"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FixedMixture(8), "sampler.probabilities: expected a probability for every task"),
        (
            lambda: FixedMixture(8, probabilities={"a": 1, "b": 3}),
            "write sampler.probabilities='{a: 0.25",
        ),
        (
            lambda: FixedMixture(8, probabilities={"a": -1, "b": 2}),
            "sampler.probabilities.a: expected",
        ),
        (lambda: Temperature(8, temperature=0), "sampler.temperature: expected"),
        (lambda: Temperature(8, temperature=math.nan), "sampler.temperature: expected"),
        (lambda: Temperature(8, cap=0), "sampler.cap: expected"),
        (lambda: UniMax(8, max_repeats=0), "sampler.max_repeats: expected"),
        (lambda: Downsample(8, ratio=0.5), "sampler.ratio: expected"),
        (lambda: Downsample(8, redraw=1), "sampler.redraw: expected true or false"),  # type: ignore[arg-type]
        (lambda: TwoStage(8, first_share=0), "sampler.first_share: expected"),
        (lambda: TwoStage(8, then="nope"), "sampler.then: expected one of annealed"),
        (lambda: TwoStage(8, then={"name": "unimax", "cap": 3}), "sampler.then: expected settings"),
        (lambda: TwoStage(8, then={"name": "fixed"}), "sampler.probabilities: expected"),
        (lambda: TwoStage(8, first="qqp"), "sampler.first: expected a list"),
        (lambda: Tiers(8, growth=0.5), "sampler.growth: expected"),
        (lambda: Tiers(8, tiers=["a"]), "sampler.tiers: expected lists"),
        (lambda: Tiers(8, lambda_=[0.5, -1]), "lambda: expected"),
        (lambda: Tiers(8, B=[3, 0]), "B: expected"),
        (lambda: Tiers(8, interleave=2), "sampler.interleave: expected"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=r": expected .*found .*; write") as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (
            FixedMixture(8, probabilities={"a": 1.0}),
            "sampler.probabilities: expected one for each of a",
        ),
        (Tiers(8, tiers=[["a"], ["b"]]), "sampler.tiers: expected each of a, b, c once"),
        (Tiers(8, tiers=[["c"], ["b", "a"]]), "sampler.tiers: expected tiers from small to large"),
        (Tiers(8, tiers=[["a"], ["b", "c"]], B=[1, 2]), "B: expected one value, or one for each"),
        (TwoStage(8, first=["z"]), "sampler.first: expected tasks of a, b, c"),
    ],
)
def test_what_does_not_fit_the_tasks_is_refused(sampler: Sampler, said: str) -> None:
    with pytest.raises(SamplerError, match=r": expected .*found .*; ") as caught:
        sampler({"a": 5, "b": 50, "c": 500}, 1, 4, 1)
    assert said in str(caught.value)


# Downsample


@given(sizes=some_sizes, batch=st.integers(1, 9), ratio=st.floats(1, 4), seed=st.integers(0, 3))
def test_downsample_uses_each_kept_example_once_and_keeps_no_more_than_its_ratio(
    sizes: dict[str, int], batch: int, ratio: float, seed: int
) -> None:
    plan = Downsample(batch, ratio=ratio)(sizes, 2, 3, seed)
    for task, size in sizes.items():
        rows = rows_used(plan.steps, task).tolist()
        assert len(rows) == len(set(rows)) == min(size, int(ratio * min(sizes.values())))
        kept = loops.rng(seed, task, 2).permutation(size)[: len(rows)]
        assert sorted(rows) == sorted(kept.tolist())
    full = batch * len(sizes)
    assert {step.examples for step in plan.steps[:-1]} <= {full}


@pytest.mark.parametrize("redraw", [True, False])
def test_downsample_draws_anew_each_epoch_if_told_to(redraw: bool) -> None:
    sampler = Downsample(4, redraw=redraw)
    first, second = ((sampler(PAPER, epoch, 9, 1)) for epoch in (1, 2))
    same = [
        set(rows_used(first.steps, "qqp").tolist()) == set(rows_used(second.steps, "qqp").tolist()),
        as_lists(first) == as_lists(second),
    ]
    assert same == [not redraw, False]


# Two stages


@given(epochs=st.integers(2, 12), share=st.floats(0.01, 1))
def test_two_stages_of_whole_epochs_start_over_once(epochs: int, share: float) -> None:
    sampler, sizes = TwoStage(4, first_share=share, then="rr"), {"a": 5, "b": 21}
    plans = [sampler(sizes, epoch, epochs, 1) for epoch in range(1, epochs + 1)]
    first = sum(plan.steps[0].phase.name == "first" for plan in plans)
    assert 1 <= first < epochs
    assert abs(first - share * epochs) <= 1 or first in (1, epochs - 1)
    assert [plan.starts_over for plan in plans] == [e == first for e in range(epochs)]
    assert [plan.number for plan in plans] == list(range(1, epochs + 1))


def test_the_first_stage_is_the_largest_task_alone_and_the_second_the_mixture() -> None:
    sizes = {"a": 5, "b": 21}
    sampler = TwoStage(4, then={"name": "annealed", "batches_per_step": 1})
    first = sampler(sizes, 1, 4, 3)
    assert sorted(rows_used(first.steps, "b").tolist()) == list(range(21))
    assert {(tuple(step.rows), step.phase.surgery) for step in first.steps} == {(("b",), False)}
    assert [len(step.rows["b"]) for step in first.steps] == [8, 8, 5]
    mixture = Annealed(4, batches_per_step=1)
    assert as_lists(sampler(sizes, 4, 4, 3)) == as_lists(mixture(sizes, 2, 2, 3))


def test_a_first_stage_of_two_tasks_has_surgery() -> None:
    plan = TwoStage(4, first=["a", "c"])({"a": 5, "b": 2, "c": 21}, 1, 2, 1)
    assert {task for step in plan.steps for task in step.rows} == {"a", "c"}
    assert all(step.phase.surgery for step in plan.steps)


def test_two_stages_need_two_epochs() -> None:
    with pytest.raises(SamplerError, match="epochs: expected at least 2"):
        TwoStage(4)(PAPER, 1, 1, 1)


# Tiers


@settings(deadline=None, max_examples=60)
@given(
    small=st.lists(st.integers(1, 20), min_size=1, max_size=3), large=st.integers(100, 200),
    batch=st.integers(1, 9), B=st.one_of(st.none(), st.integers(1, 250)), seed=st.integers(0, 3),
)  # fmt: skip
def test_two_tiers_with_one_giant_are_arrp(
    small: list[int], large: int, batch: int, B: int | None, seed: int
) -> None:
    sizes = {"giant": large, **{f"t{k}": size for k, size in enumerate(small)}}
    freeze = ["*", "!heads.{task}.*"]
    options: dict[str, Any] = {"B": B, "lambda_": 0.3, "freeze": freeze}
    tiers = [[task for task in sizes if task != "giant"], ["giant"]]
    mine = Tiers(batch, tiers=tiers, **options)(sizes, 2, 3, seed)
    theirs = ARRP(batch, **options)(sizes, 2, 3, seed)
    assert as_lists(mine) == as_lists(theirs)
    assert [step.phase for step in mine.steps] == [step.phase for step in theirs.steps]
    assert bool(mine.notes) == bool(theirs.notes)


def test_the_papers_sizes_are_cut_into_its_two_tiers() -> None:
    assert Tiers(8).tiers_of(PAPER) == [["sts", "sst"], ["qqp"]]
    assert as_lists(Tiers(8)(PAPER, 1, 2, 1)) == as_lists(ARRP(8)(PAPER, 1, 2, 1))


def test_three_tiers_against_a_loop() -> None:
    sizes = {"xl": 900, "s1": 11, "m1": 60, "s2": 7, "m2": 90}
    tiers = [["s2", "s1"], ["m1", "m2"], ["xl"]]
    sampler = Tiers(4, growth=4, B=[30, 500], lambda_=[0.7, 0.2], freeze=[[], ["*"]])
    assert sampler.tiers_of(sizes) == tiers
    plan = sampler(sizes, 1, 1, 5)
    assert as_lists(plan) == loops.tiers(sizes, tiers, 1, 5, 4, [30, 500])
    phases = [(p.name, p.surgery, p.lambda_, p.frozen, len(steps)) for p, steps in plan.phases()]
    assert phases == [
        ("rr", True, 1.0, (), 2),
        ("rr2", True, 0.7, (), 8),
        ("finetune", False, 0.2, ("*",), 125),
    ]
    used = [len(rows_used(plan.steps, task)) for task in sizes]
    assert used == [7 + 30 + 500, 7, 37, 7, 37]


def test_what_a_joint_phase_freezes_names_each_of_its_tasks() -> None:
    sampler = Tiers(4, tiers=[["a"], ["b", "c"]], freeze=["*", "!heads.{task}.*"])
    plan = sampler({"a": 4, "b": 40, "c": 50}, 1, 1, 1)
    assert plan.steps[-1].phase.frozen == ("*", "!heads.b.*", "!heads.c.*")


@given(first=st.integers(1, 30), giant=st.integers(31, 300), batch=st.integers(1, 7))
def test_interleaved_steps_keep_their_order_and_are_spread_evenly(
    first: int, giant: int, batch: int
) -> None:
    sizes = {"a": first, "b": giant}
    apart = Tiers(batch, tiers=[["a"], ["b"]])(sizes, 1, 1, 1)
    mixed = Tiers(batch, tiers=[["a"], ["b"]], interleave=True)(sizes, 1, 1, 1)
    assert [as_lists(Epoch(1, steps)) for _, steps in mixed.phases()] == [
        as_lists(Epoch(1, steps)) for _, steps in apart.phases()
    ]
    joint = [place for place, step in enumerate(mixed.steps) if step.phase.name == "rr"]
    later = len(mixed.steps) - len(joint)
    assert joint[0] == 0
    gaps = [b - a - 1 for a, b in zip(joint, [*joint[1:], len(mixed.steps)], strict=True)]
    assert all(abs(gap - later / len(joint)) <= 1 for gap in gaps)


# All of them


ALL: list[Sampler] = [
    Annealed(8, batch_sizes={"sts": 3}),
    Temperature(8, batch_sizes={"sts": 3}),
    UniMax(8, batch_sizes={"sts": 3}),
    FixedMixture(8, probabilities={"sts": 0.3, "sst": 0.3, "qqp": 0.4}, batch_sizes={"sts": 3}),
    RoundRobin(8, batch_sizes={"sts": 3}),
    ARRP(8, 300, batch_sizes={"sts": 3}),
    Tiers(8, B=300, batch_sizes={"sts": 3}),
    TwoStage(8, then="temperature", batch_sizes={"sts": 3}),
]


@pytest.mark.parametrize("sampler", ALL, ids=lambda sampler: type(sampler).__name__)
def test_a_task_may_have_a_batch_size_of_its_own(sampler: Sampler) -> None:
    sizes = {"sts": 60, "sst": 90, "qqp": 900}
    plan = sampler(sizes, 2, 2, 1)
    seen: dict[str, set[int]] = {}
    for step in (step for _, steps in plan.phases() for step in steps[:-1]):
        for task, rows in step.rows.items():
            seen.setdefault(task, set()).add(len(rows))
    per_batch = isinstance(sampler, Mixture | TwoStage)
    assert {size % 3 for size in seen["sts"]} == {0}
    if per_batch:
        assert {size % 8 for size in seen["sst"] | seen["qqp"]} == {0}
    else:
        assert (seen["sts"], seen["sst"], seen["qqp"]) == ({3}, {8}, {8})


def test_round_robin_ends_with_the_task_that_its_batch_size_uses_up_first() -> None:
    plan = RoundRobin(8, batch_sizes={"b": 32})({"a": 100, "b": 320}, 1, 1, 1)
    assert [(len(s.rows["a"]), len(s.rows["b"])) for s in plan.steps] == [(8, 32)] * 10


def test_a_task_smaller_than_its_own_batch_fills_one_step() -> None:
    plan = RoundRobin(8, batch_sizes={"a": 32})({"a": 3, "b": 500}, 1, 1, 1)
    assert [len(step.rows["b"]) for step in plan.steps] == [1]
    assert plan.notes == ("a ran out of fresh examples and started over",)


def test_unimax_keeps_its_limit_for_a_task_with_larger_batches_of_its_own() -> None:
    sizes, sampler = {"a": 100, "b": 10_000}, UniMax(8, max_repeats=4, batch_sizes={"a": 32})
    drawn = [
        sum(len(step.rows["a"]) for step in sampler(sizes, epoch, 40, 1).steps if "a" in step.rows)
        for epoch in range(1, 41)
    ]
    assert np.mean(drawn) == pytest.approx(400, rel=0.1)


def test_tiers_of_two_are_arrp_whatever_the_batch_sizes() -> None:
    sizes, own = {"a": 100, "b": 500}, {"b": 64}
    tiers, arrp = Tiers(8, B=200, batch_sizes=own), ARRP(8, B=200, batch_sizes=own)
    assert as_lists(tiers(sizes, 1, 2, 3)) == as_lists(arrp(sizes, 1, 2, 3))


def test_two_stages_refuse_a_mixture_that_looks_back() -> None:
    with pytest.raises(ValueError, match="plans without looking back, found DevGap; write"):
        TwoStage(8, then=DevGap(8, single={"a": 0.5, "b": 0.8}))


def test_two_stages_refuse_a_mixture_without_batches_of_one_task() -> None:
    with pytest.raises(ValueError, match="expected a mixture that draws batches of one task"):
        TwoStage(8, then="vanilla", batch_sizes={"a": 2})


def test_vanilla_deals_its_union_as_a_loop_does() -> None:
    sizes = {"a": 7, "b": 30, "c": 1}
    assert as_lists(Vanilla(3, 40)(sizes, 2, 4, 9)) == loops.vanilla(sizes, 2, 9, 3, 40)
