import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import GradVacWeighting

from mtl_bert.surgery import GradVac, PCGrad
from mtl_bert.surgery.methods.base import weights_of
from tests.surgery.dense import draw_orders
from tests.surgery.steps import random_rows, seeded, step, weigh


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def turn(rows: Tensor, orders: Sequence[Sequence[int]], targets: Tensor, beta: float) -> Tensor:
    """Algorithm 1 on the vectors themselves; ``targets`` [K, K] move on."""
    turned = rows.clone()
    for i, order in enumerate(orders):
        for j in order:
            target, phi = float(targets[i, j]), cosine(turned[i], rows[j])
            if phi < target:
                # Equation 2.
                length = turned[i].norm() * (
                    target * math.sqrt(1 - phi**2) - phi * math.sqrt(1 - target**2)
                )
                turned[i] += length / (rows[j].norm() * math.sqrt(1 - target**2)) * rows[j]
            targets[i, j] = (1 - beta) * target + beta * phi
    return turned


@settings(deadline=None)
@given(K=st.integers(2, 6), seed=st.integers(0, 10_000), beta=st.sampled_from([0.01, 0.3, 0.9]))
def test_equals_the_algorithm_on_vectors_step_after_step(K: int, seed: int, beta: float) -> None:
    method, targets = GradVac(beta), torch.zeros(K, K, dtype=torch.float64)
    for number in range(4):
        rows = random_rows(K, 8, seed + number)
        orders = draw_orders(K, seeded(number), include_self=False)
        expected = turn(rows, orders, targets, beta).sum(0)
        update = method(rows, seeded(number))
        torch.testing.assert_close(update, expected, rtol=1e-8, atol=1e-8)
    pairs = {f"{i} {j}": float(targets[i, j]) for i in range(K) for j in range(K) if i != j}
    assert method.memory == pytest.approx(pairs)


@pytest.mark.parametrize("beta", [0.01, 0.5, 1.0])
def test_two_tasks_agree_with_torchjd_step_after_step(beta: float) -> None:
    ours, theirs = GradVac(beta), GradVacWeighting(beta=beta, eps=0.0)
    for number in range(20):
        rows = random_rows(2, 5, number)
        expected = theirs(rows @ rows.T)
        torch.testing.assert_close(weigh(ours, rows), expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(K=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_the_first_step_is_that_of_pcgrad(K: int, seed: int) -> None:
    rows = random_rows(K, 5, seed)
    expected = weigh(PCGrad(), rows, seed)
    torch.testing.assert_close(weigh(GradVac(), rows, seed), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("target", [-0.9, -0.3, 0.0, 0.4, 0.95])
def test_a_turned_gradient_has_the_target_cosine(target: float) -> None:
    method = GradVac()
    # Only the first is turned: the second's target is out of reach from below.
    method.memory.update({"t0 t1": target, "t1 t0": -1.0})
    a, b = torch.tensor([[-2.0, 0.1, 0.0], [3.0, 1.0, 0.5]], dtype=torch.float64)
    assert cosine(a, b) < target
    weights = weigh(method, torch.stack([a, b]))
    assert weights[0] == 1
    assert weights[1] > 1
    torch.testing.assert_close(cosine(a + (weights[1] - 1) * b, b), target)


def test_gradients_more_alike_than_their_target_are_left_alone() -> None:
    method = GradVac()
    method.memory.update({"t0 t1": -0.9, "t1 t0": -0.9})
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert weigh(method, rows).tolist() == [1, 1]


def test_targets_are_moving_averages_of_the_cosines_from_zero() -> None:
    method = GradVac(beta=0.25)
    right = torch.tensor([[2.0, 0.0], [3.0, 3.0]], dtype=torch.float64)
    across = torch.tensor([[2.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    half = math.sqrt(0.5)
    expected = [0.25 * half, 0.75 * 0.25 * half, 0.75**2 * 0.25 * half + 0.25 * half]
    for rows, target in zip([right, across, right], expected, strict=True):
        weigh(method, rows)
        assert method.memory == pytest.approx({"t0 t1": target, "t1 t0": target})


def test_a_pair_is_remembered_by_names() -> None:
    method = GradVac()
    rows = random_rows(3, 5, 0)
    weights_of(method, step(rows[:2], ["a", "b"]), seeded(0))
    weights_of(method, step(rows[1:], ["b", "c"]), seeded(0))
    assert set(method.memory) == {"a b", "b a", "b c", "c b"}


def test_a_target_of_one_is_come_near() -> None:
    method = GradVac()
    method.memory.update({"t0 t1": 1.0, "t1 t0": -1.0})
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    weights = weigh(method, torch.stack([a, b]))
    assert weights.isfinite().all()
    assert cosine(a + (weights[1] - 1) * b, b) > 0.999999


@pytest.mark.parametrize("beta", [-0.1, 1.5, math.nan, "much"])
def test_a_wrong_beta_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta: expected .* ≤ 1, found .*; write .*beta=0.01"):
        GradVac(beta)
