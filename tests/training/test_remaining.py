"""Time left is what will be, as far as it can be known."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.training.callbacks.progress import ENOUGH, HALF_LIFE, Left, Remaining, in_words

DEV = 100  # examples
PHASES = ["joint", "first alone", "second alone"]
Plan = list[tuple[list[tuple[str, int]], bool]]
"""Epochs: steps as phase and examples, and whether the dev sets are scored after them."""

steps = st.tuples(st.sampled_from(PHASES), st.integers(1, 64))
plans = st.lists(st.tuples(st.lists(steps, max_size=30), st.booleans()), min_size=1, max_size=5)
speeds = st.floats(0.5, 5000)
positive = st.floats(0.001, 1000)


def expected(plan: Plan) -> Remaining:
    ahead = Counter[str]()
    for epoch, _ in plan:
        for phase, examples in epoch:
            ahead[phase] += examples
    remaining = Remaining()
    remaining.expect(ahead, DEV * sum(scored for _, scored in plan))
    return remaining


@given(plans, st.fixed_dictionaries(dict.fromkeys(PHASES, speeds)), positive)
def test_at_constant_speeds_it_is_the_truth(
    plan: Plan, speed: dict[str, float], validation: float
) -> None:
    remaining = expected(plan)
    durations: list[float] = []  # of everything, in order
    said: list[tuple[Left, int]] = []  # and how much had been done then
    done, ahead = Counter[str](), Counter(step[0] for epoch, _ in plan for step in epoch)
    for epoch, scored in plan:
        for phase, examples in epoch:
            durations.append(examples / speed[phase])
            remaining.did(phase, examples, durations[-1])
            done[phase] += 1
            ahead[phase] -= 1
            left = remaining.left()
            enough = sum(count - 1 for count in done.values()) >= ENOUGH
            assert (left is not None) == enough
            known = all(done[name] > ENOUGH for name in ahead if ahead[name])
            if left is not None and known and remaining.dev_seconds is not None:
                assert left.measured
                said.append((left, len(durations)))
        if scored:
            durations.append(validation)
            remaining.validated(DEV, validation)
    for left, place in said:
        assert left.seconds == pytest.approx(sum(durations[place:]), rel=1e-6, abs=1e-6)


@given(plans, speeds, positive)
def test_phases_that_were_not_measured_count_as_fast_as_the_others(
    plan: Plan, speed: float, validation: float
) -> None:
    remaining = expected(plan)
    remaining.dev_seconds = validation / DEV
    rest = sum(n / speed for epoch, _ in plan for _, n in epoch)
    rest += validation * sum(scored for _, scored in plan)
    for epoch, scored in plan:
        for phase, examples in epoch:
            remaining.did(phase, examples, examples / speed)
            rest -= examples / speed
            if (left := remaining.left()) is not None:
                assert left.seconds == pytest.approx(rest, rel=1e-6, abs=1e-6)
        if scored:
            remaining.validated(DEV, validation)
            rest -= validation


def test_what_is_guessed_is_called_so() -> None:
    remaining = Remaining()
    remaining.expect({"joint": 1000, "alone": 500}, dev_examples=0)
    for _ in range(ENOUGH + 1):
        remaining.did("joint", 10, 1.0)
    assert remaining.left() == Left(pytest.approx(94 + 50), measured=False)
    for _ in range(ENOUGH):
        remaining.did("alone", 10, 2.0)
    assert not remaining.left().measured  # the first step says nothing of the others
    remaining.did("alone", 10, 2.0)
    assert remaining.left() == Left(pytest.approx(94 + 88), measured=True)


def test_a_small_guess_beside_much_that_was_measured_is_none() -> None:
    remaining = Remaining()
    remaining.expect({"joint": 1000, "alone": 40}, dev_examples=0)
    for _ in range(ENOUGH + 1):
        remaining.did("joint", 10, 1.0)
    assert remaining.left() == Left(pytest.approx(94 + 4), measured=True)


def test_a_first_step_that_warms_up_does_not_count() -> None:
    remaining = Remaining()
    remaining.expect({"joint": 1000}, dev_examples=0)
    remaining.did("joint", 10, 60.0)
    assert remaining.rate("joint") is None
    for _ in range(ENOUGH):
        remaining.did("joint", 10, 1.0)
    assert remaining.rate("joint") == pytest.approx(10)
    assert remaining.left() == Left(pytest.approx(94), measured=True)


def test_a_validation_that_goes_on_is_partly_done() -> None:
    remaining = Remaining()
    remaining.expect({"joint": 10 * (ENOUGH + 1)}, dev_examples=300)
    for _ in range(ENOUGH + 1):
        remaining.did("joint", 10, 1.0)
    assert remaining.left() == Left(0, measured=False)  # nobody knows how long they take
    remaining.validated(100, 10.0)
    assert remaining.left() == Left(pytest.approx(20), measured=True)
    assert remaining.left(validating=8, of=100) == Left(pytest.approx(12), measured=True)
    assert remaining.left(validating=99, of=100) == Left(pytest.approx(10), measured=True)
    remaining.validated(200, 20.0)
    assert remaining.left() == Left(pytest.approx(0), measured=True)


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_machine_that_changes_its_pace_is_believed(before: float, after: float) -> None:
    remaining = Remaining()
    remaining.expect({"joint": 10**6}, dev_examples=0)
    for seconds in (before, after):
        for _ in range(1 + int(10 * HALF_LIFE / seconds)):
            remaining.did("joint", 8, seconds)
    assert remaining.rate("joint") == pytest.approx(8 / after, rel=0.2)


UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@given(st.floats(10, 10**7), st.booleans())
def test_words_are_as_exact_as_their_last_unit(seconds: float, measured: bool) -> None:
    words = in_words(Left(seconds, measured))
    assert re.fullmatch(r"(about|maybe)( \d+ (s|min|h|d)){1,2} left", words)
    assert words.startswith("about" if measured else "maybe")
    found = [(int(n), unit) for n, unit in re.findall(r"(\d+) (\w+)", words)]
    said = sum(n * UNITS[unit] for n, unit in found)
    exact = {"s": 10, "min": 60, "h": 3600, "d": 3600}[found[-1][1]]
    if seconds > 95 * 60 and seconds < 47 * 3600:
        exact = 600
    assert abs(said - seconds) <= exact / 2 + 30  # minutes were rounded before tens of them


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (None, ""),
        (Left(0, True), ""),
        (Left(3, True), "a few seconds left"),
        (Left(94, True), "about 90 s left"),
        (Left(95, False), "maybe 2 min left"),
        (Left(3 * 3600 + 8 * 60, True), "about 3 h 10 min left"),
        (Left(2 * 3600, True), "about 2 h left"),
        (Left(51 * 3600, True), "about 2 d 3 h left"),
    ],
)
def test_words(left: Left | None, words: str) -> None:
    assert in_words(left) == words
