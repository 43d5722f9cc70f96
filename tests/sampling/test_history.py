"""Dynamic samplers: what they make of the epochs before, written out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.sampling import DevGap, RoundRobin, Seen, StopAndGo
from mtl_bert.sampling.epoch import Epoch, rows_used
from mtl_bert.sampling.history import History
from mtl_bert.sampling.loader import PlanLoader
from mtl_bert.sampling.planner import Planner
from mtl_bert.utils.validation import SamplerError

SIZES = {"a": 40, "b": 400}
SINGLE = {"a": 0.6, "b": 0.9}


def scored(*epochs: tuple[float, float]) -> History:
    return [{"a": Seen(score=a), "b": Seen(score=b)} for a, b in epochs]


def drawn(plan: Epoch) -> list[int]:
    return [len(rows_used(plan.steps, task)) for task in SIZES]


def share(history: History, **options: float) -> float:
    a, b = drawn(DevGap(1, 20_000, 1, single=SINGLE, **options)(SIZES, 2, 3, 1, history))
    return a / (a + b)


def test_tasks_are_drawn_by_their_distance_to_single_task_models() -> None:
    assert share(()) == pytest.approx(1 / 2, abs=0.02)
    assert share(scored((0.5, 0.6))) == pytest.approx(0.1 / 0.4, abs=0.02)
    assert share(scored((0.1, 0.1), (0.5, 0.6))) == pytest.approx(0.1 / 0.4, abs=0.02)
    assert share(scored((0.7, 0.6)), floor=0.1) == pytest.approx(0.1 / 0.4, abs=0.02)
    assert share([{"a": Seen(score=0.5), "b": Seen()}]) == pytest.approx(1 / 2, abs=0.02)


def test_single_task_scores_are_needed() -> None:
    with pytest.raises(ValueError, match=r"sampler.single: expected the dev score .*; write"):
        DevGap(8)
    with pytest.raises(SamplerError, match="expected a score for each of a, b"):
        DevGap(8, single={"a": 1.0})(SIZES, 1, 1, 1)


def test_a_task_stops_when_it_no_longer_rises_and_goes_when_it_falls() -> None:
    has_stopped = StopAndGo(8).has_stopped
    assert not has_stopped([])
    assert not has_stopped([0.5, 0.5])  # two epochs are needed to compare with
    assert has_stopped([0.5, 0.5, 0.5])
    assert has_stopped([0.5, 0.6, 0.5004])
    assert not has_stopped([0.5, 0.4, 0.5006])
    assert has_stopped([0.5, 0.5, 0.5, 0.498])  # within half a percent of the best
    assert not has_stopped([0.5, 0.5, 0.5, 0.497])
    assert not has_stopped([-0.5, -0.49, -0.48])


@given(st.lists(st.floats(-1, 1), max_size=12))
def test_stopping_against_a_loop(found: list[float]) -> None:
    going = True
    for e, score in enumerate(found):
        best = max(found[: e + 1])
        if not going and best - score > 0.005 * abs(best):
            going = True
        elif going and e >= 2 and score - found[e - 2] < 0.001 * abs(found[e - 2]):
            going = False
    assert StopAndGo(8).has_stopped(found) == (not going)


def test_a_stopped_task_is_in_one_step_of_four() -> None:
    plan = StopAndGo(4, 80)(SIZES, 4, 9, 1, scored((0.5, 0.1), (0.5, 0.2), (0.5, 0.3)))
    assert [set(step.rows) for step in plan.steps] == [{"a", "b"}, {"b"}, {"b"}, {"b"}] * 5
    assert plan.notes[0] == "a has stopped: one step in 4"
    assert (
        rows_used(plan.steps, "a").tolist()
        == rows_used(RoundRobin(4, 80)(SIZES, 4, 9, 1).steps, "a").tolist()[:20]
    )


@pytest.mark.parametrize("history", [(), scored(*[(0.5, 0.5)] * 3)])
def test_when_none_or_all_have_stopped_all_go(history: History) -> None:
    plan = StopAndGo(4)(SIZES, 4, 9, 1, history)
    assert all(set(step.rows) == set(SIZES) for step in plan.steps)


def test_a_plan_looks_back_and_never_ahead() -> None:
    planner = Planner(DevGap(4, single=SINGLE), SIZES, 5, 1)
    past, future = scored((0.5, 0.2)), scored((0.5, 0.2), (0.1, 0.8), (0.3, 0.8))
    np.testing.assert_array_equal(drawn(planner(2, past)), drawn(planner(2, future)))
    assert drawn(planner(3, past)) != drawn(planner(3, future))
    assert len(planner(1).steps) == len(planner(4, future).steps)


def test_a_loader_that_resumes_plans_by_the_same_history() -> None:
    def loader() -> PlanLoader[torch.Tensor]:
        data = {task: torch.arange(size) for task, size in SIZES.items()}
        return PlanLoader(data, DevGap(4, 60, single=SINGLE), epochs=4, seed=1)

    first = loader()
    first.add_history({"a": Seen(score=0.2), "b": Seen(score=0.85)})
    first.set_epoch(2)
    whole = [{t: rows.tolist() for t, rows in step.batches.items()} for step in first]
    blind = loader()
    blind.set_epoch(2)
    assert whole != [{t: r.tolist() for t, r in step.batches.items()} for step in blind]
    first.set_epoch(2)
    again = iter(first)
    for _ in range(3):
        next(again)
    second = loader()
    second.load_state_dict(first.state_dict())
    assert [{t: r.tolist() for t, r in step.batches.items()} for step in second] == whole[3:]
