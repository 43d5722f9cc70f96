"""Several labels of one text: the plan deals them alike, and changes nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_bert import PlanLoader
from mtl_bert.sampling import ARRP, Annealed, RoundRobin, Sampler, Step, Vanilla
from mtl_bert.sampling.epoch import Epoch, Phase, Rows, rows_used
from mtl_bert.sampling.planner import Planner
from mtl_bert.sampling.same_texts import dealt_alike, sharing

SIZES = {"a": 30, "b": 30, "c": 12, "d": 30}
WHOLE = [{task: np.arange(30) for task in ("a", "d", "b")}]
samplers = st.sampled_from([ARRP(4, 40), RoundRobin(5, 50), Vanilla(3), Annealed(4, 60)])


def labelled(shares: Mapping[str, float], texts: int, seed: int) -> dict[str, Rows]:
    """Tasks with labels of some of the texts, in an order of their own."""
    rng = np.random.default_rng(seed)
    there = {task: np.flatnonzero(rng.random(texts) < share) for task, share in shares.items()}
    return {task: rng.permutation(np.append(found, texts)) for task, found in there.items()}


def kinds_used(steps: tuple[Step, ...], task: str, group: Mapping[str, Rows]) -> Counter[object]:
    """How often a task uses texts with labels of these and those tasks."""
    of = {t: set(texts.tolist()) for t, texts in group.items()}
    used = group[task][rows_used(steps, task)].tolist()
    return Counter(tuple(text in of[t] for t in group) for text in used)


@settings(deadline=None)
@given(
    sampler=samplers,
    seed=st.integers(0, 30),
    window=st.sampled_from([None, 3]),
    shares=st.tuples(*[st.sampled_from([0.3, 0.8, 0.95, 1.0])] * 3),
)
def test_steps_stay_as_they_are_and_every_task_uses_what_its_sampler_drew_of_each_kind(
    sampler: Sampler, seed: int, window: int | None, shares: tuple[float, ...]
) -> None:
    group = labelled(dict(zip("adb", shares, strict=True)), 40, seed)
    sizes = {t: len(group[t]) if t in group else 12 for t in SIZES}
    how = {"lengths": {t: np.arange(n) % 7 for t, n in sizes.items()}, "group_by_length": window}
    plain = Planner(sampler, sizes, 3, seed, **how)(2)  # type: ignore[arg-type]
    alike = Planner(sampler, sizes, 3, seed, same_texts=[group], **how)(2)  # type: ignore[arg-type]
    assert [(s.phase, {t: len(r) for t, r in s.rows.items()}) for s in alike.steps] == [
        (s.phase, {t: len(r) for t, r in s.rows.items()}) for s in plain.steps
    ]
    assert rows_used(alike.steps, "c").tolist() == rows_used(plain.steps, "c").tolist()
    for task, size in sizes.items():
        stream = rows_used(alike.steps, task).tolist()
        turns = [stream[at : at + size] for at in range(0, len(stream), size)]
        if not window:  # which deals rows again
            assert all(len(set(turn)) == len(turn) for turn in turns)
        assert set(stream) <= set(range(size))
    for task in group:
        before, after = (kinds_used(p.steps, task, group) for p in (plain, alike))
        assert before == after


@pytest.mark.parametrize("sampler", [RoundRobin(4), ARRP(4, 40), RoundRobin(4, 70)])
def test_whoever_has_a_batch_in_every_step_shares_every_text(sampler: Sampler) -> None:
    plan = Planner(sampler, SIZES, 1, 1, same_texts=WHOLE)(1)
    joint = [step for step in plan.steps if len(step.rows) > 1]
    assert joint
    assert all(sharing(step, WHOLE) == [["a", "d", "b"]] for step in joint)
    for step in joint:
        assert step.rows["a"].tolist() == step.rows["b"].tolist() == step.rows["d"].tolist()
    apart = Planner(sampler, SIZES, 1, 1)(1)
    assert not all(sharing(step, WHOLE) for step in apart.steps)
    for step in plan.steps:  # a phase of one task has nobody to share with
        if len(step.rows) == 1:
            assert sharing(step, WHOLE) == []


@pytest.mark.parametrize(("share", "most"), [(0.95, 1.1), (0.9, 1.2), (0.8, 1.4)])
def test_a_step_has_little_more_than_each_text_once_where_labels_are_missing(
    share: float, most: float
) -> None:
    group = labelled({"a": share, "b": share, "c": share}, 1000, 1)
    sizes = {task: len(texts) for task, texts in group.items()}
    plan = Planner(RoundRobin(10), sizes, 1, 1, same_texts=[group])(1)
    there, once = 0.0, 0
    for step in plan.steps:
        texts = [group[task][rows].tolist() for task, rows in step.rows.items()]
        there += sum(map(len, texts)) / 3
        once += len(set().union(*texts))
    assert 1 < once / there < most


def test_no_text_is_used_more_often_than_another_whatever_labels_it_has() -> None:
    """Over many seeds: a task of which an epoch uses a half sees each of its rows as often."""
    group = labelled({"a": 0.9, "b": 0.8}, 40, 3)
    sizes = {task: len(texts) for task, texts in group.items()}
    runs, times = 1500, {task: np.zeros(size) for task, size in sizes.items()}
    for seed in range(runs):
        plan = Planner(RoundRobin(4, 16), sizes, 1, seed, same_texts=[group])(1)
        for task in group:
            np.add.at(times[task], rows_used(plan.steps, task), 1)
    for task, size in sizes.items():
        p = 16 / size
        deviations = (times[task] - runs * p) / np.sqrt(runs * p * (1 - p))
        assert np.abs(deviations).max() < 4.5  # of some 70 normal numbers


def test_labels_that_few_texts_share_cost_less_by_themselves() -> None:
    phase, texts = Phase("rr"), np.arange(20)
    group = {"a": texts, "b": texts, "c": texts}

    def shared(a: int, b: int, c: int) -> list[list[str]]:
        rows = {"a": texts[a : a + 8], "b": texts[b : b + 8], "c": texts[c : c + 8]}
        return sharing(Step(phase, {t: r for t, r in rows.items() if len(r) == 8}), [group])

    assert shared(0, 0, 0) == [["a", "b", "c"]]
    assert shared(0, 1, 1) == [["a", "b", "c"]]  # 9 texts and 3 tasks: 63 < 72
    assert shared(0, 1, 15) == [["a", "b"]]  # 9 and 2: 45 < 48; c has fewer than a batch
    assert shared(0, 0, 6) == [["a", "b"]]
    assert shared(0, 2, 12) == []  # 10 and 2: 50 > 48
    assert shared(0, 4, 8) == []
    step = Step(phase, dict.fromkeys(("a", "b"), texts[:8]))
    assert sharing(step, [group], 0.88) == [["a", "b"]]  # 40 < 42.2
    assert sharing(step, [group], 0.8) == []


def test_plans_without_a_second_task_of_a_group_stay_as_they_are() -> None:
    steps = tuple(Step(Phase("alone"), {"a": np.array([n, 9 - n])}) for n in range(3))
    plan = Epoch(1, steps)
    assert dealt_alike(plan, []) is plan
    assert dealt_alike(plan, WHOLE) is plan


def test_a_loader_deals_alike_and_refuses_numbers_that_do_not_fit() -> None:
    data = {"a": range(9), "b": [10 * n for n in range(7)], "c": range(4)}
    group: dict[str, Sequence[int]] = {"a": range(9), "b": [8, 0, 1, 2, 3, 4, 5]}
    loader: PlanLoader[Any] = PlanLoader(data, RoundRobin(2), epochs=1, same_texts=[group])
    steps, together = list(loader), 0
    for step in steps:
        texts = [group["b"][row // 10] for row in step.batches["b"].tolist()]
        together += len(set(texts) & set(step.batches["a"].tolist()))
    assert together >= 3  # of 8
    for wrong in ("c", "x"):
        group = {"a": range(9), wrong: range(9)}
        with pytest.raises(ValueError, match="same_texts: expected the number of each example's"):
            PlanLoader(data, RoundRobin(2), epochs=1, same_texts=[group])
    with pytest.raises(ValueError, match="balanced classes"):
        PlanLoader(data, RoundRobin(2), epochs=1, same_texts=[{"c": range(4)}],
                   classes={"c": np.zeros(4)})  # fmt: skip
