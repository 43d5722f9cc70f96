"""What is put together over phases is what all their steps would have given at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.analysis.gradient_conflicts import joint, layers, pair_names, steps_alone
from mtl_bert.runs.results import PhaseRecord
from tests.analysis.conflicting import alone, influence, pair, phase

TASKS = ("a", "b", "c")
OLD = PhaseRecord(name="joint", steps=3, examples=9, seconds=1.0)


def test_means_are_over_steps_and_pairs_in_the_tasks_order() -> None:
    first = phase(
        {"b/a": pair(-0.4, 1.0, 10)},
        {"a": influence(0.2, norm=1.0), "b": influence(0.8, norm=5.0)},
        conflicting=1.0, removed=0.4,
    )  # fmt: skip
    second = phase(
        {"a/b": pair(0.4, 0.0, 30)},
        {"a": influence(0.6, norm=3.0, steps=30), "b": influence(0.4, norm=1.0, steps=30)},
        steps=30, conflicting=0.2, removed=0.0,
    )  # fmt: skip
    found = joint([OLD, first, alone("a", 7), second], TASKS)
    assert found is not None
    assert found.steps == 40
    assert found.conflicting == pytest.approx((10 * 1.0 + 30 * 0.2) / 40)
    assert found.removed == pytest.approx(0.1)
    assert list(found.pairs) == ["a/b"]
    assert found.pairs["a/b"].cosine == pytest.approx(0.2)
    assert found.pairs["a/b"].conflicting == pytest.approx(0.25)
    assert found.tasks["a"].norm == pytest.approx(2.5)
    assert found.parts == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}


def test_the_sharpest_pair() -> None:
    pairs = {"a/b": pair(0.1, 0.6), "a/c": pair(-0.1, 0.6), "b/c": pair(-0.5, 0.5)}
    shares = {"a": influence(0.3), "b": influence(0.9), "c": influence(-0.2)}
    found = joint([phase(pairs, shares)], TASKS)
    assert found is not None
    assert found.sharpest == "a/c"  # as often as a/b, and more sharply


def test_where_nothing_met_there_is_nothing() -> None:
    assert joint([], TASKS) is None
    assert joint([OLD, alone("a", 7)], TASKS) is None
    assert layers([OLD, alone("a", 7)], TASKS) == {}


def test_steps_of_one_task_are_counted_by_task() -> None:
    met = phase({"a/b": pair(0.1, 0.5)}, {"a": influence(0.5), "b": influence(0.5)})
    assert steps_alone([alone("b", 7), met, alone("c", 2), alone("b", 3), OLD]) == {"b": 10, "c": 2}


def test_layers_are_put_together_by_steps_where_they_were_looked_at() -> None:
    tasks = {"a": influence(0.5), "b": influence(0.5)}
    met = {"a/b": pair(0.0, 0.5)}
    first = phase(met, tasks, layers={"embeddings": {"a/b": pair(0.3, 0.0, 1)}, "pooler": met})
    second = phase(met, tasks, layers={"embeddings": {"a/b": pair(-0.1, 1.0, 3)}})
    found = layers([first, phase(met, tasks), second], TASKS)
    assert list(found) == ["embeddings", "pooler"]
    assert found["embeddings"]["a/b"].steps == 4
    assert found["embeddings"]["a/b"].cosine == pytest.approx(0.0)
    assert found["embeddings"]["a/b"].conflicting == pytest.approx(0.75)
    assert found["pooler"]["a/b"].steps == 10


@dataclass(frozen=True)
class Step:
    """A step: cosines of its pairs, and of each of its tasks norm, share, before and after."""

    cosines: dict[str, float]
    tasks: dict[str, tuple[float, float, float, float]]
    removed: float


numbers = st.floats(-1, 1)


@st.composite
def steps(draw: st.DrawFn, whole: bool) -> Step:
    present = [t for t in TASKS if whole or draw(st.booleans())] or [TASKS[0]]
    weights = [draw(st.floats(0.1, 1)) for _ in present]
    parts = {
        task: (draw(st.floats(0, 9)), weight / sum(weights), draw(numbers), draw(numbers))
        for task, weight in zip(present, weights, strict=True)
    }
    cosines = {f"{a}/{b}": draw(numbers) for a, b in combinations(present, 2)}
    return Step(cosines, parts, draw(numbers))


def as_recorded(found: Sequence[Step]) -> PhaseRecord:
    """A phase of these steps, as its records define it."""
    several = [step for step in found if step.cosines]
    pairs = {}
    for name in dict.fromkeys(name for step in several for name in step.cosines):
        values = [step.cosines[name] for step in several if name in step.cosines]
        negative = float(np.mean(np.array(values) < 0))
        pairs[name] = pair(float(np.mean(values)), negative, len(values))
    tasks = {}
    for task in dict.fromkeys(task for step in found for task in step.tasks):
        rows = [step.tasks[task] for step in found if task in step.tasks]
        norm, share, before, after = np.mean(rows, axis=0).tolist()
        tasks[task] = influence(share, norm=norm, before=before, after=after, steps=len(rows))
    return phase(
        pairs, tasks, steps=len(found),
        conflicting=float(np.mean([min(s.cosines.values()) < 0 for s in several] or [0])),
        removed=float(np.mean([step.removed for step in several] or [0])),
    )  # fmt: skip


@given(st.booleans().flatmap(
    lambda whole: st.tuples(
        st.just(whole),
        st.lists(st.lists(steps(whole), min_size=1, max_size=4), min_size=1, max_size=4),
    )
))  # fmt: skip
def test_phases_come_to_what_their_steps_do(drawn: tuple[bool, list[list[Step]]]) -> None:
    whole, phases = drawn
    if not whole:  # a phase of single tasks only is none of the joint ones
        phases = [part for part in phases if any(step.cosines for step in part)]
    found = joint([as_recorded(part) for part in phases], TASKS)
    direct = as_recorded([step for part in phases for step in part]).conflicts if phases else None
    if direct is None:
        assert found is None
        return
    assert found is not None
    assert set(found.pairs) == set(direct.pairs)
    for name, expected in direct.pairs.items():
        assert found.pairs[name].steps == expected.steps
        assert found.pairs[name].cosine == pytest.approx(expected.cosine, abs=1e-12)
        assert found.pairs[name].conflicting == pytest.approx(expected.conflicting)
    for task, part in direct.tasks.items():
        for what in ("norm", "share", "before", "after"):
            value = getattr(found.tasks[task], what)
            assert value == pytest.approx(getattr(part, what), abs=1e-12)
    assert sum(found.parts.values()) == pytest.approx(1)
    if whole:
        assert found.steps == direct.steps
        assert found.conflicting == pytest.approx(direct.conflicting)
        assert found.removed == pytest.approx(direct.removed, abs=1e-12)


def test_pairs_are_in_the_tasks_order() -> None:
    assert pair_names(TASKS) == ("a/b", "a/c", "b/c")
