"""What every method promises, whatever the paper, and which promise more."""

import json
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_bert.config.compose import CONF
from mtl_bert.config.settings import Settings
from mtl_bert.runs.factories import make_surgery
from mtl_bert.surgery import PCD, Method, StepStats
from mtl_bert.surgery.methods.base import weights_of
from tests.composing import settings_of, surgery_words
from tests.surgery.steps import random_rows, seeded, step, weigh


@dataclass(frozen=True)
class Promises:
    """What a method says of itself.

    Attributes:
        random: it draws numbers.
        remembers: it has a memory.
        harmless: no gradient conflicts with the update, up to the Gram matrix regularized by
            1e-4 of its trace.
        alone: which weights tasks have where no two gradients conflict, "sum" (1) or "mean" (1/K).
        degree: c times longer gradients have weights c ** degree times as large.
        error: of its solver, relative.
    """

    random: bool = False
    remembers: bool = False
    harmless: bool = False
    alone: str | None = None
    degree: int = 0
    error: float = 1e-9


PROMISES = {
    "aligned_mtl": Promises(),
    "cagrad": Promises(error=1e-3),
    "db_mtl": Promises(),
    "dualproj": Promises(harmless=True, alone="mean"),
    "dwa": Promises(remembers=True),
    "fairgrad": Promises(harmless=True, degree=-1, error=1e-5),
    "fixed": Promises(alone="sum"),
    "geometric": Promises(),
    "gradnorm": Promises(remembers=True),
    "gradvac": Promises(random=True, remembers=True, alone="sum"),
    "group_dro": Promises(remembers=True),
    "imtl_g": Promises(error=1e-6),
    "imtl_l": Promises(),
    "mean": Promises(alone="mean"),
    "mgda": Promises(harmless=True, error=1e-4),
    "nash_mtl": Promises(harmless=True, degree=-1),
    "none": Promises(alone="sum"),
    "pcd": Promises(remembers=True),
    "pcgrad": Promises(random=True, alone="sum"),
    "pcgrad_paper": Promises(random=True, alone="sum"),
    "rlw": Promises(random=True),
    "stch": Promises(remembers=True),
    "uncertainty": Promises(remembers=True),
    "upgrad": Promises(harmless=True, alone="mean"),
}


def those_that(promise: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [n for n, p in PROMISES.items() if getattr(p, promise)])


every = pytest.mark.parametrize("name", PROMISES)
some = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 10_000)


@cache
def configured(name: str) -> Settings:
    return settings_of(*surgery_words(name))


def method_of(name: str) -> Method:
    """A method of its own, with an empty memory; where one task leads, it is the first."""
    method = make_surgery(configured(name)).method
    return replace(method, main="t0") if isinstance(method, PCD) else method


def close(found: Tensor, expected: Tensor, error: float) -> None:
    torch.testing.assert_close(found, expected, rtol=error, atol=error * float(expected.norm()))


def history(method: Method, scale: float = 1.0, order: tuple[int, ...] = (0, 1, 2, 3)) -> Tensor:
    """The weights of the last of three steps, tasks arranged in ``order``."""
    weights = torch.empty(0)
    for number in range(3):
        full = step(random_rows(4, 6, number) * scale)
        place = list(order)
        seen = StepStats(
            tuple(full.tasks[k] for k in place),
            full.gram[place][:, place],
            full.losses[place] ** (1 + number),  # some fall, others grow
            1 + number,
        )
        weights = weights_of(method, seen, seeded(number))
    return weights


def test_every_method_of_the_configuration_is_here() -> None:
    assert set(PROMISES) == {path.stem for path in (CONF / "surgery").glob("*.yaml")}


@every
@pytest.mark.parametrize("K", [1, 2, 3, 8, 64])
def test_any_number_of_tasks_has_finite_weights(name: str, K: int) -> None:
    weights = weigh(method_of(name), random_rows(K, 2 * K, K))
    assert weights.shape == (K,)
    assert weights.dtype == torch.float64
    assert weights.isfinite().all()


@every
def test_a_task_alone_keeps_its_direction(name: str) -> None:
    assert weigh(method_of(name), random_rows(1, 5, 0)).item() > 0


@pytest.mark.parametrize("name", [n for n, p in PROMISES.items() if not p.random])
@some
@given(seed=seeds, order=st.permutations(range(4)))
def test_the_order_of_tasks_does_not_matter(name: str, seed: int, order: list[int]) -> None:
    rows = random_rows(4, 6, seed)
    losses = [0.3, 0.9, 1.4, 2.0]
    tasks = [f"t{k}" for k in range(4)]
    expected = weights_of(method_of(name), step(rows, tasks, losses))
    arranged = step(rows[order], [tasks[k] for k in order], [losses[k] for k in order])
    close(weights_of(method_of(name), arranged), expected[order], PROMISES[name].error)


@pytest.mark.parametrize("name", ["dwa", "gradnorm", "group_dro", "pcd", "stch", "uncertainty"])
def test_what_is_remembered_goes_by_name_not_by_place(name: str) -> None:
    order = (2, 0, 3, 1)
    expected = history(method_of(name))[list(order)]
    close(history(method_of(name), order=order), expected, 1e-9)


@every
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_longer_gradients_change_only_the_length_of_the_update(name: str, scale: float) -> None:
    promises = PROMISES[name]
    expected = history(method_of(name)) * scale**promises.degree
    close(history(method_of(name), scale), expected, promises.error)


@those_that("harmless")
@some
@given(seed=seeds, K=st.integers(2, 6))
def test_no_task_is_harmed(name: str, seed: int, K: int) -> None:
    rows = random_rows(K, 8, seed)
    weights = weigh(method_of(name), rows)
    gram = rows @ rows.T
    assert (gram @ weights >= -1.01e-4 * gram.trace() * weights.abs()).all()


@pytest.mark.parametrize("name", ["pcgrad", "pcgrad_paper", "gradvac"])
@some
@given(seed=seeds)
def test_projection_harms_neither_of_two_tasks(name: str, seed: int) -> None:
    rows = random_rows(2, 3, seed)
    gram = rows @ rows.T
    assert (gram @ weigh(method_of(name), rows) >= -1e-12 * gram.trace()).all()


@those_that("alone")
@some
@given(seed=seeds, K=st.integers(1, 6))
def test_gradients_that_do_not_conflict_are_left_alone(name: str, seed: int, K: int) -> None:
    share = 1 / K if PROMISES[name].alone == "mean" else 1.0
    weights = weigh(method_of(name), random_rows(K, 8, seed).abs())
    close(weights, torch.full([K], share, dtype=torch.float64), 1e-9)


@every
def test_the_generator_decides_and_no_other(name: str) -> None:
    drawn = []
    for other in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(other)
            before = torch.get_rng_state()
            drawn.append(history(method_of(name)))
            assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*drawn)


@those_that("random")
def test_another_seed_draws_other_weights(name: str) -> None:
    rows = random_rows(6, 3, 0)
    assert not torch.equal(weigh(method_of(name), rows, 0), weigh(method_of(name), rows, 1))


@every
def test_the_matrix_type_is_kept_and_its_digits_do_not_matter(name: str) -> None:
    rows = random_rows(4, 50, 1)
    losses, tasks = [0.4, 0.8, 1.2, 1.6], [f"t{k}" for k in range(4)]
    double, single = (
        method_of(name)(matrix, generator=seeded(3), losses=losses, tasks=tasks, epoch=1)
        for matrix in (rows, rows.float())
    )
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    close(single.double(), double, max(1e-5, PROMISES[name].error))


@every
@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_zero_gradient_is_as_good_as_absent(name: str, place: int) -> None:
    without, with_zero = method_of(name), method_of(name)
    others = [k for k in range(4) if k != place]
    for number in range(2):
        rows = random_rows(4, 6, number)
        rows[place] = 0
        seen = step(rows)
        expected = weights_of(without, seen.only(torch.arange(4) != place), seeded(7))
        weights = weights_of(with_zero, seen, seeded(7))
        assert weights[place] == 0
        assert torch.equal(weights[others], expected)
    assert with_zero.memory == without.memory


@every
def test_nothing_but_zero_gradients_has_no_weights(name: str) -> None:
    method = method_of(name)
    assert weigh(method, torch.zeros(3, 4)).tolist() == [0, 0, 0]
    assert method.memory == {}


NORMS = torch.tensor([[1e-8], [1.0], [1e8]], dtype=torch.float64)
g, h, e = random_rows(3, 8, 5).unsqueeze(1)
EXTREMES = {
    "equal": torch.cat([g, g]),
    "equal beside another": torch.cat([g, g, h]),
    "opposite": torch.cat([g, -g]),
    "opposite beside another": torch.cat([g, -2 * g, h]),
    "nearly parallel": torch.cat([g, g + 1e-9 * h, g + 1e-9 * e]),
    "nearly opposite": torch.cat([g, -g + 1e-9 * h, e]),
    "of wildly different norms": torch.cat([g, h, e]) * NORMS,
    "conflicting, of wildly different norms": torch.cat([g, h - 2 * g, -g - 2 * h]) * NORMS,
    "tiny": torch.cat([g, h, -e]) * 1e-8,
    "huge": torch.cat([g, h, -e]) * 1e8,
}


@every
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extreme_gradients_have_finite_weights(name: str, extreme: str) -> None:
    method = method_of(name)
    for seed in range(3):
        assert weigh(method, EXTREMES[extreme], seed).isfinite().all()


@every
def test_equal_gradients_are_followed(name: str) -> None:
    assert weigh(method_of(name), torch.cat([g, g, g])).sum() > 0


@pytest.mark.parametrize("name", [n for n in PROMISES if n not in ("pcd", "rlw")])
def test_opposite_gradients_of_equal_tasks_cancel(name: str) -> None:
    seen = step(torch.cat([g, -g]), losses=[0.7, 0.7])
    weights = weights_of(method_of(name), seen, seeded(0))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)


@every
def test_a_memory_is_there_or_not_and_is_its_own(name: str) -> None:
    method = method_of(name)
    history(method)
    assert bool(method.memory) == PROMISES[name].remembers
    assert method_of(name).memory == {}


@those_that("remembers")
def test_a_restored_memory_goes_on_as_the_first(name: str) -> None:
    first, second = method_of(name), method_of(name)
    history(first)
    saved = json.loads(json.dumps(first.memory))
    assert saved == first.memory
    assert all(type(key) is str and type(value) is float for key, value in first.memory.items())
    second.memory.update(saved)
    forgetful = []
    for number in range(3, 6):
        losses = [1.0, 0.3, 2.5, 0.8]
        seen = step(random_rows(4, 6, number), losses=losses, epoch=1 + number)
        weights = [weights_of(method, seen, seeded(number)) for method in (first, second)]
        assert torch.equal(*weights)
        forgetful.append(torch.equal(weights_of(method_of(name), seen, seeded(number)), weights[0]))
    assert first.memory == second.memory
    assert not all(forgetful)


@those_that("remembers")
def test_an_absent_task_is_remembered_as_it_was(name: str) -> None:
    method = method_of(name)
    history(method)
    before = dict(method.memory)
    weights_of(method, step(random_rows(3, 6, 9), ["t0", "t1", "t3"]), seeded(0))
    after = method.memory
    absent = {key for key in before if "t2" in key.split()}
    assert absent
    assert {key: after[key] for key in absent} == {key: before[key] for key in absent}
    assert after != before
