"""Several labels of one text: the plan deals them alike, and changes nothing else."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_bert import PlanLoader
from mtl_bert.sampling import ARRP, Annealed, RoundRobin, Sampler, Vanilla
from mtl_bert.sampling.epoch import rows_used
from mtl_bert.sampling.planner import Planner
from mtl_bert.sampling.same_texts import sharing

SIZES = {"a": 30, "b": 30, "c": 12, "d": 30}
GROUPS = [["a", "d", "b"]]
samplers = st.sampled_from([ARRP(4, 40), RoundRobin(5, 50), Vanilla(3), Annealed(4, 60)])


@settings(deadline=None)
@given(sampler=samplers, seed=st.integers(0, 3), window=st.sampled_from([None, 3]))
def test_steps_stay_as_they_are_and_no_row_comes_again_early(
    sampler: Sampler, seed: int, window: int | None
) -> None:
    lengths = {task: np.arange(size) % 7 for task, size in SIZES.items()}
    how = {"lengths": lengths, "group_by_length": window}
    plain = Planner(sampler, SIZES, 3, seed, **how)(2)  # type: ignore[arg-type]
    alike = Planner(sampler, SIZES, 3, seed, same_texts=GROUPS, **how)(2)  # type: ignore[arg-type]
    assert [(s.phase, {t: len(r) for t, r in s.rows.items()}) for s in alike.steps] == [
        (s.phase, {t: len(r) for t, r in s.rows.items()}) for s in plain.steps
    ]
    streams = {task: rows_used(alike.steps, task).tolist() for task in SIZES}
    assert streams["c"] == rows_used(plain.steps, "c").tolist()
    most = max((streams[task] for task in GROUPS[0]), key=len)
    assert most in [rows_used(plain.steps, task).tolist() for task in GROUPS[0]]
    for task in GROUPS[0]:
        assert streams[task] == most[: len(streams[task])]
    if not window and not isinstance(sampler, Vanilla):  # whose union is what starts over
        for task in GROUPS[0]:
            counted = Counter(streams[task])
            times = [counted[row] for row in range(SIZES[task])]
            assert max(times) - min(times) <= 1


@pytest.mark.parametrize("sampler", [RoundRobin(4), ARRP(4, 40), RoundRobin(4, 70)])
def test_whoever_has_a_batch_in_every_step_shares_every_text(sampler: Sampler) -> None:
    plan = Planner(sampler, SIZES, 1, 1, same_texts=GROUPS)(1)
    joint = [step for step in plan.steps if len(step.rows) > 1]
    assert joint
    assert all(sharing(step, GROUPS) == GROUPS for step in joint)
    apart = Planner(sampler, SIZES, 1, 1)(1)
    assert not all(sharing(step, GROUPS) for step in apart.steps)
    for step in plan.steps:  # a phase of one task has nobody to share with
        if len(step.rows) == 1:
            assert sharing(step, GROUPS) == []


def test_a_loader_deals_alike_and_refuses_groups_that_are_none() -> None:
    data = {"a": range(9), "b": [10 * n for n in range(9)], "c": range(4)}
    loader = PlanLoader(data, RoundRobin(2), epochs=1, same_texts=[["a", "b"]])
    steps = list(loader)
    assert steps
    for step in steps:
        assert step.batches["b"].tolist() == [10 * n for n in step.batches["a"].tolist()]
    for group in (["a", "c"], ["a", "x"]):
        with pytest.raises(ValueError, match="same_texts: expected groups of tasks"):
            PlanLoader(data, RoundRobin(2), epochs=1, same_texts=[group])
