import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import MGDAWeighting

from mtl_bert.surgery import MGDA
from tests.surgery.steps import random_rows, seeded, weigh


def squared_length(alpha: Tensor, gram: Tensor) -> float:
    return float(alpha @ gram @ alpha)


NEAR = 1e-5
"""Nearly always below 1e-11; of 5,000 matrices like these five were farther off, at most 3.6e-6."""


def residual(alpha: Tensor, gram: Tensor) -> float:
    """How far the best task is below the update's own norm², relative: 0 for the shortest."""
    return float((alpha @ gram @ alpha - (gram @ alpha).min()) / gram.diagonal().max())


def on_the_simplex(alpha: Tensor) -> bool:
    return bool((alpha >= 0).all()) and abs(float(alpha.sum()) - 1) < 1e-9


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), length=st.sampled_from([0.1, 0.5, 1.0, 2.0, 10.0]))
def test_two_tasks_in_closed_form(seed: int, length: float) -> None:
    a, b = random_rows(2, 3, seed)
    b = b * length
    share = float(((b - a) @ b / (b - a).square().sum()).clamp(0, 1))
    expected = torch.tensor([share, 1 - share], dtype=torch.float64)
    torch.testing.assert_close(weigh(MGDA(), torch.stack([a, b])), expected, rtol=0, atol=1e-9)


def test_a_gradient_within_a_longer_one_is_taken_alone() -> None:
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.5], [2.0, -0.5]])
    assert weigh(MGDA(), rows).tolist() == [1, 0, 0]


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), K=st.integers(1, 12), P=st.integers(1, 16))
def test_no_gradient_is_farther_back_than_the_update_itself(seed: int, K: int, P: int) -> None:
    rows = random_rows(K, P, seed)
    gram, alpha = rows @ rows.T, weigh(MGDA(), rows)
    assert on_the_simplex(alpha)
    assert residual(alpha, gram) < NEAR
    support = alpha > 1e-4
    spread = (gram @ alpha)[support] - squared_length(alpha, gram)
    assert (spread.abs() < NEAR * gram.diagonal().max()).all()


@pytest.mark.parametrize("seed", range(10))
def test_nothing_on_a_fine_grid_is_shorter(seed: int) -> None:
    rows = random_rows(3, 2 + seed % 3, seed)
    gram, steps = rows @ rows.T, 200
    grid = torch.tensor(
        [
            (i, j, steps - i - j)
            for i, j in itertools.product(range(steps + 1), repeat=2)
            if i + j <= steps
        ],
        dtype=torch.float64,
    )
    lengths = torch.einsum("ni,ij,nj->n", grid / steps, gram, grid / steps)
    found = squared_length(weigh(MGDA(), rows), gram)
    assert found <= float(lengths.min()) + 1e-12
    assert found >= float(lengths.min()) - 4 * float(gram.diagonal().max()) / steps


@pytest.mark.parametrize("K", [2, 3, 5, 10])
def test_agrees_with_torchjd_and_is_never_longer(K: int) -> None:
    # Theirs are plain Frank-Wolfe steps, which end near the answer.
    theirs = MGDAWeighting(epsilon=1e-9, max_iters=2000)
    for seed in range(3):
        rows = random_rows(K, 12, seed)
        gram, alpha = rows @ rows.T, weigh(MGDA(), rows)
        expected = theirs(gram)
        assert squared_length(alpha, gram) <= squared_length(expected, gram) + 1e-12
        torch.testing.assert_close(alpha, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("rank", [1, 5, 40, 63])
def test_many_tasks_of_deficient_rank(rank: int) -> None:
    rows = random_rows(64, rank, rank)
    gram, alpha = rows @ rows.T, weigh(MGDA(), rows)
    assert on_the_simplex(alpha)
    assert residual(alpha, gram) < 1e-11


@pytest.mark.parametrize("near", [0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6])
def test_nearly_equal_gradients_stay_on_the_simplex(near: float) -> None:
    # Their differences are rounded away, down to negative squares of lengths.
    for seed in range(30):
        K = 2 + seed % 4
        rows = torch.randn(1, 20, dtype=torch.float64, generator=seeded(seed))
        rows = rows + near * random_rows(K, 20, seed + 100)
        gram, alpha = rows @ rows.T, weigh(MGDA(), rows)
        assert on_the_simplex(alpha)
        assert residual(alpha, gram) < 1e-11


def test_gradients_around_the_origin_give_no_update() -> None:
    corners = torch.tensor([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]], dtype=torch.float64)
    assert (weigh(MGDA(), corners) @ corners).norm() < 1e-6
