"""The time left is what will be, as far as it can be known."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data.table import Encoded
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import ARRP
from mtl_bert.training.callbacks.time_left import ENOUGH, HALF_LIFE, Schedule, TimeLeft
from mtl_bert.training.datamodule import DEV_SETS, PlanDataModule
from tests.factories import TINY, make_table, random_texts

KINDS = ["joint", "first alone", "second alone", DEV_SETS]

steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 64)), max_size=80)
speeds = st.floats(0.5, 5000)


def expected(steps: list[tuple[str, int]]) -> Schedule:
    ahead = Counter[str]()
    for kind, examples in steps:
        ahead[kind] += examples
    return Schedule(ahead)


@given(steps, st.fixed_dictionaries(dict.fromkeys(KINDS, speeds)))
def test_at_constant_speeds_it_is_the_truth(
    steps: list[tuple[str, int]], speed: dict[str, float]
) -> None:
    schedule, done = expected(steps), Counter[str]()
    kinds = {kind for kind, _ in steps}
    for number, (kind, examples) in enumerate(steps, 1):
        schedule.did(kind, examples, examples / speed[kind])
        done[kind] += 1
        left = schedule.left()
        if sum(count - 1 for count in done.values()) < ENOUGH:
            assert left == TimeLeft(0, measured=False)
        elif all(done[each] > ENOUGH for each in kinds):
            rest = sum(n / speed[each] for each, n in steps[number:])
            assert left == TimeLeft(pytest.approx(rest, rel=1e-6, abs=1e-6), measured=True)


@given(steps, speeds)
def test_kinds_that_were_not_measured_count_as_fast_as_the_others(
    steps: list[tuple[str, int]], speed: float
) -> None:
    schedule = expected(steps)
    rest = sum(examples for _, examples in steps)
    for kind, examples in steps:
        schedule.did(kind, examples, examples / speed)
        rest -= examples
        if (left := schedule.left()).seconds:
            assert left.seconds == pytest.approx(rest / speed, rel=1e-6, abs=1e-6)


def test_what_is_guessed_is_called_so() -> None:
    schedule = Schedule({"joint": 1000, "alone": 500})
    for _ in range(ENOUGH + 1):
        schedule.did("joint", 10, 1.0)
    assert schedule.left() == TimeLeft(pytest.approx(94 + 50), measured=False)
    assert schedule.left({"joint": 100}) == TimeLeft(pytest.approx(10), measured=True)
    for _ in range(ENOUGH):
        schedule.did("alone", 10, 2.0)
    assert not schedule.left().measured  # the first step says nothing of the others
    schedule.did("alone", 10, 2.0)
    assert schedule.left() == TimeLeft(pytest.approx(94 + 88), measured=True)


def test_a_first_step_that_warms_up_does_not_count() -> None:
    schedule = Schedule({"joint": 1000})
    schedule.did("joint", 10, 60.0)
    assert schedule.rate("joint") is None
    for _ in range(ENOUGH):
        schedule.did("joint", 10, 1.0)
    assert schedule.rate("joint") == pytest.approx(10)
    assert schedule.left() == TimeLeft(pytest.approx(94), measured=True)


def test_books_and_checkpoints_after_the_dev_sets_belong_to_them() -> None:
    schedule = Schedule({DEV_SETS: 1000})
    for _ in range(ENOUGH + 1):
        schedule.did(DEV_SETS, 10, 1.0)
    schedule.did(DEV_SETS, 0, 5.0)
    assert schedule.rate(DEV_SETS) == pytest.approx(5, rel=0.05)
    assert schedule.ahead[DEV_SETS] == 940


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_machine_that_changes_its_pace_is_believed(before: float, after: float) -> None:
    schedule = Schedule({"joint": 10**6})
    for seconds in (before, after):
        for _ in range(1 + int(10 * HALF_LIFE / seconds)):
            schedule.did("joint", 8, seconds)
    assert schedule.rate("joint") == pytest.approx(8 / after, rel=0.2)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (TimeLeft(0, True), ""),
        (TimeLeft(0.4, False), ""),
        (TimeLeft(3.4, True), "0:00:03 left"),
        (TimeLeft(94.6, False), "~0:01:35 left"),
        (TimeLeft(3 * 3600 + 8 * 60, True), "3:08:00 left"),
        (TimeLeft(51 * 3600, True), "2 days, 3:00:00 left"),
    ],
)
def test_words(left: TimeLeft, words: str) -> None:
    assert str(left) == words


TRAIN: dict[str, Encoded] = {
    task: Tokenize(TINY.tokenizer(), 12)(
        make_table(random_texts(TINY.tokenizer(), size, 1, longest=5), [0.0] * size)
    )
    for task, size in {"first": 50, "second": 21}.items()
}


@given(
    st.integers(1, 4),
    st.integers(0, 30),
    st.integers(1, 3),
    st.sampled_from([None, 4]),
    st.sampled_from([None, 30, 50]),
)
def test_what_is_ahead_is_the_plan_less_what_is_done(
    epoch: int, step: int, every: int, bucket: int | None, sample: int | None
) -> None:
    types = dict.fromkeys(TRAIN, torch.float32)
    sampler = ARRP(batch_size=4, B=13)
    datamodule = PlanDataModule(
        sampler,
        TRAIN,
        TRAIN,
        types,
        epochs=4,
        seed=1,
        validate_every=every,
        group_by_length=bucket,
        dev_sample=sample,
    )
    datamodule.start = Position(epoch, min(step, len(datamodule.plan(epoch).steps)))
    rest = [
        (each.phase.name, each.examples)
        for number in range(epoch, 5)
        for place, each in enumerate(datamodule.plan(number).steps)
        if number > epoch or place >= datamodule.start.step
    ]
    expected = Counter[str]()
    for phase, examples in rest:
        expected[phase] += examples
    found = datamodule.work_ahead()
    dev = found.pop(DEV_SETS)
    assert {phase: n for phase, n in found.items() if n} == dict(expected)
    scored = sum(n in {*range(every, 5, every), 4} for n in range(epoch, 5))
    # A sample of 30 has all 21 of the smaller; at the end the best and the last see all 71.
    assert dev == (scored * 51 + 2 * 71 if sample == 30 else scored * 71)
    assert datamodule.total_steps == sum(len(datamodule.plan(n).steps) for n in range(1, 5))
