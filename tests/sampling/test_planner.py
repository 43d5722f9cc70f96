"""What holds for single tasks, whatever the sampler: limits and classes that come up alike."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_bert.sampling import ARRP, Annealed, Epoch, RoundRobin, Sampler, Vanilla
from mtl_bert.sampling.balance import balanced, classes_used
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.planner import Planner, within_limits

SIZES = {"a": 30, "b": 90, "c": 12}
samplers = st.sampled_from([ARRP(4, 40), RoundRobin(5, 50), Vanilla(3), Annealed(4, 60)])


def counts(plan: Epoch) -> list[dict[str, int]]:
    return [{task: len(rows) for task, rows in step.rows.items()} for step in plan.steps]


@settings(deadline=None)
@given(
    sampler=samplers, seed=st.integers(0, 3),
    classes=st.lists(st.integers(0, 4), min_size=30, max_size=30),
)  # fmt: skip
def test_balanced_classes_come_up_in_turn_and_nothing_else_changes(
    sampler: Sampler, seed: int, classes: list[int]
) -> None:
    plan = sampler(SIZES, 2, 3, seed)
    labels = np.array(classes)
    dealt = balanced(plan, {"a": labels}, seed)
    assert counts(dealt) == counts(plan)
    assert [step.phase for step in dealt.steps] == [step.phase for step in plan.steps]
    for task in ("b", "c"):
        assert rows_used(dealt.steps, task).tolist() == rows_used(plan.steps, task).tolist()
    rows, C = rows_used(dealt.steps, "a"), len(set(classes))
    of_class = labels[rows].tolist()
    for start in range(0, len(rows) - C + 1, C):
        assert len(set(of_class[start : start + C])) == C
    for value in set(classes):
        members = [int(row) for row in rows if labels[row] == value]
        size = classes.count(value)
        for start in range(0, len(members), size):  # no example again before all have been used
            turn = members[start : start + size]
            assert len(set(turn)) == len(turn)
    used = classes_used(dealt, {"a": labels})["a"]
    assert used == {str(v): n for v, n in Counter(of_class).items()}
    assert not used or max(used.values()) - min(used.values()) <= 1 or len(used) < C


def test_balance_differs_by_epoch_and_seed_and_is_the_same_again() -> None:
    labels = {"a": np.arange(30) % 3}
    plans = [
        rows_used(balanced(RoundRobin(4)(SIZES, e, 3, s), labels, s).steps, "a").tolist()
        for e, s in ((1, 1), (1, 1), (2, 1), (1, 2))
    ]
    assert plans[0] == plans[1]
    assert plans[0] not in plans[2:]


@settings(deadline=None)
@given(
    sampler=samplers, seed=st.integers(0, 3),
    limits=st.dictionaries(st.sampled_from("abc"), st.floats(0.05, 3), max_size=3),
)  # fmt: skip
def test_limits_cut_a_task_short_and_leave_the_others_alone(
    sampler: Sampler, seed: int, limits: dict[str, float]
) -> None:
    plan = sampler(SIZES, 1, 3, seed)
    cut = within_limits(plan, SIZES, limits)
    said = set()
    for task, size in SIZES.items():
        before = rows_used(plan.steps, task).tolist()
        most = int(limits[task] * size) if task in limits else len(before)
        assert rows_used(cut.steps, task).tolist() == before[:most]
        if most < len(before):
            said.add(task)
    assert all(step.rows and all(map(len, step.rows.values())) for step in cut.steps)
    assert {note.split()[0] for note in cut.notes[len(plan.notes) :]} == said


def test_a_planner_without_wishes_is_the_sampler() -> None:
    plan, planned = RoundRobin(4)(SIZES, 2, 3, 1), Planner(RoundRobin(4), SIZES, 3, 1)(2)
    assert counts(plan) == counts(planned)
    assert rows_used(plan.steps, "b").tolist() == rows_used(planned.steps, "b").tolist()


def test_a_sampler_that_returns_something_else_is_named() -> None:
    wrong: Any = lambda sizes, epoch, epochs, seed: 3  # noqa: E731
    with pytest.raises(TypeError, match="sampler: expected it to return an Epoch, found int"):
        Planner(wrong, SIZES, epochs=2, seed=1)(1)
