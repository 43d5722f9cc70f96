import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import PCGradWeighting

from mtl_bert.surgery import PCGrad, StepStats, Sum
from mtl_bert.surgery.gram import gram_matrix
from tests.surgery.dense import draw_orders, project


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix(K: int, P: int, seed: int) -> Tensor:
    return torch.randn(K, P, dtype=torch.float64, generator=seeded(seed))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(1e-300))


@given(K=st.integers(1, 7), seed=st.integers(0, 10_000), include_self=st.booleans())
def test_equals_the_dense_algorithm_in_the_same_order(
    K: int, seed: int, include_self: bool
) -> None:
    J = matrix(K, 5, seed)
    expected = project(J, draw_orders(K, seeded(seed), include_self=include_self)).sum(0)
    assert relative(PCGrad(include_self)(J, generator=seeded(seed)), expected) < 1e-12


@pytest.mark.parametrize("seed", range(30))
def test_three_tasks_give_one_of_the_eight_orders(seed: int) -> None:
    J = matrix(3, 4, seed)
    orders = [list(itertools.permutations([j for j in range(3) if j != i])) for i in range(3)]
    outcomes = [project(J, choice).sum(0) for choice in itertools.product(*orders)]
    assert len(outcomes) == 8
    result = PCGrad()(J, generator=seeded(seed))
    assert min(relative(result, outcome) for outcome in outcomes) < 1e-12


def test_all_eight_orders_occur() -> None:
    # Three gradients in the plane, each at 120 degrees or so to the others: the order matters.
    J = torch.tensor([[1.0, 0.1], [-0.6, 0.9], [-0.4, -0.8]], dtype=torch.float64)
    orders = [list(itertools.permutations([j for j in range(3) if j != i])) for i in range(3)]
    outcomes = {
        tuple(project(J, choice).sum(0).round(decimals=9).tolist())
        for choice in itertools.product(*orders)
    }
    generator = seeded(0)
    drawn = {tuple(PCGrad()(J, generator=generator).round(decimals=9).tolist()) for _ in range(300)}
    assert len(outcomes) == 8
    assert drawn == outcomes


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_torchjd(seed: int) -> None:
    gram = gram_matrix([list(matrix(5, 6, seed))], 5)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = PCGradWeighting()(gram)
        torch.manual_seed(seed)
        weights = PCGrad().weights(StepStats((), gram, gram))
    torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12)


def test_two_tasks_in_closed_form() -> None:
    g1 = torch.tensor([3.0, 1.0], dtype=torch.float64)
    g2 = torch.tensor([-2.0, 1.0], dtype=torch.float64)
    dot = g1 @ g2
    expected = g1 - dot / (g2 @ g2) * g2 + g2 - dot / (g1 @ g1) * g1
    torch.testing.assert_close(PCGrad()(torch.stack([g1, g2])), expected)


def test_no_conflict_no_change() -> None:
    J = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(PCGrad()(J), J.sum(0), rtol=0, atol=0)


def test_opposite_gradients_cancel_and_one_task_is_left_alone() -> None:
    g = torch.tensor([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(PCGrad()(torch.cat([g, -g])), torch.zeros(3))
    torch.testing.assert_close(PCGrad()(g), g[0], rtol=0, atol=0)


def test_a_zero_gradient_is_neutral() -> None:
    J = matrix(3, 4, 5)
    with_zero = torch.cat([J, torch.zeros(1, 4, dtype=torch.float64)])
    outcomes = {
        tuple(PCGrad()(J, generator=seeded(s)).round(decimals=10).tolist()) for s in range(100)
    }
    for seed in range(20):
        result = PCGrad()(with_zero, generator=seeded(seed))
        assert tuple(result.round(decimals=10).tolist()) in outcomes


def test_gradients_whose_squares_leave_float32_are_projected_all_the_same() -> None:
    J = torch.tensor([[3.0, 1.0], [-2.0, 1.0]])
    expected = PCGrad()(J)
    for scale in (1e-30, 1e30):
        result = PCGrad()(J * scale)
        torch.testing.assert_close(result / scale, expected)


@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_scaling_all_gradients_scales_the_update(seed: int, scale: float) -> None:
    J = matrix(4, 6, seed)
    scaled = PCGrad()(J * scale, generator=seeded(seed))
    assert relative(scaled, scale * PCGrad()(J, generator=seeded(seed))) < 1e-10


def test_self_projection_matters_only_sometimes_and_never_for_two_tasks() -> None:
    def differs(K: int, seed: int) -> bool:
        J = matrix(K, 3, seed)
        orders = draw_orders(K, seeded(seed), include_self=True)
        without = [[j for j in order if j != i] for i, order in enumerate(orders)]
        return relative(project(J, orders).sum(0), project(J, without).sum(0)) > 1e-9

    assert not any(differs(2, seed) for seed in range(300))
    share = sum(differs(3, seed) for seed in range(3000)) / 3000
    assert 0 < share < 0.05


def test_the_update_comes_in_the_matrix_own_type_and_shape() -> None:
    J = torch.randn(3, 40_000)
    assert PCGrad()(J).dtype == torch.float32
    assert PCGrad()(J).shape == (40_000,)


@pytest.mark.parametrize("bad", [torch.randn(3), torch.ones(2, 3, dtype=torch.int64)])
def test_what_is_not_a_gradient_matrix_is_refused(bad: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected a float matrix \[K, P\].* found .*write"):
        PCGrad()(bad)


def test_sum_adds_up() -> None:
    J = matrix(4, 6, 0)
    torch.testing.assert_close(Sum()(J), J.sum(0))
