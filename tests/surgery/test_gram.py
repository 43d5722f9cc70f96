import pytest
import torch

from mtl_bert.surgery import gram
from mtl_bert.surgery.gram import BLOCK, gram_matrix


def test_equals_the_matrix_product_in_float64() -> None:
    columns = [
        [torch.randn(7, 5) for _ in range(3)],
        [torch.randn(2 * BLOCK + 3) for _ in range(3)],
    ]
    J = torch.stack([torch.cat([column[k].flatten() for column in columns]) for k in range(3)])
    exact = J.double() @ J.double().T
    torch.testing.assert_close(gram_matrix(columns, 3), exact, rtol=1e-6, atol=1e-3)


def test_long_rows_are_right_to_seven_digits() -> None:
    # A mean far from 0 makes a plain fp32 sum lose digits, as norms of long gradients do.
    g = torch.rand(4_000_000) * 1e-3
    exact = float(g.double() @ g.double())
    assert abs(float(gram_matrix([[g]], 1)) / exact - 1) < 1e-6


def test_a_parameter_that_a_task_does_not_reach_adds_nothing() -> None:
    a, b, c = torch.randn(3, 4).unbind()
    gram = gram_matrix([[a, b], [c, None]], 2)
    zero = torch.zeros(4)
    torch.testing.assert_close(gram, gram_matrix([[a, b], [c, zero]], 2), rtol=1e-5, atol=1e-6)


def test_autocast_does_not_reach_it() -> None:
    g = torch.randn(2, 1000)
    plain = gram_matrix([list(g)], 2)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gram_matrix([list(g)], 2), plain, rtol=0, atol=0)


def test_tasks_without_a_common_parameter_are_orthogonal() -> None:
    gram = gram_matrix([[torch.ones(3), None], [None, torch.ones(2)]], 2)
    assert gram.tolist() == [[3.0, 0.0], [0.0, 2.0]]
    assert gram.dtype == torch.float64


def test_many_short_parameters_count_as_much_as_long_ones() -> None:
    # Reached by all, by one and by two of three tasks, long and short mixed.
    reach = [(1, 1, 1), (1, 0, 0), (0, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1)]
    lengths = [3, BLOCK + 1, 7, 2 * BLOCK, 5, 11]
    columns = [
        [torch.randn(length, dtype=torch.float64) if here else None for here in pattern]
        for pattern, length in zip(reach, lengths, strict=True)
    ]
    rows = [
        torch.cat(
            [
                torch.zeros(length, dtype=torch.float64) if column[k] is None else column[k]
                for column, length in zip(columns, lengths, strict=True)
            ]
        )
        for k in range(3)
    ]
    J = torch.stack(rows)
    torch.testing.assert_close(gram_matrix(columns, 3), J @ J.T, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("K", [1, 8, 64])
def test_any_number_of_tasks(K: int) -> None:
    J = torch.randn(K, 100, dtype=torch.float64)
    torch.testing.assert_close(gram_matrix([list(J)], K), J @ J.T, rtol=1e-12, atol=1e-12)


def test_a_lower_precision_of_matrix_products_does_not_reach_it() -> None:
    J = torch.randn(3, 2 * BLOCK + 5)
    torch.set_float32_matmul_precision("medium")
    try:
        gram = gram_matrix([list(J)], 3)
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(gram, J.double() @ J.double().T, rtol=1e-12, atol=1e-9)


def test_accurate_at_the_size_of_bert_base() -> None:
    # Gradients of 110M parameters share signs over long stretches: plain fp32 sums drift there.
    P, generator = 110_000_000, torch.Generator().manual_seed(0)
    a = torch.rand(P, generator=generator).mul_(1e-3)
    b = torch.rand(P, generator=generator).sub_(0.25).mul_(1e-3)
    exact = torch.zeros(2, 2, dtype=torch.float64)
    for x, y in zip(a.split(4_000_000), b.split(4_000_000), strict=True):
        part = torch.stack([x, y]).double()
        exact += part @ part.T
    torch.testing.assert_close(gram_matrix([[a, b]], 2), exact, rtol=1e-6, atol=0)
    assert abs(float(a @ b) / float(exact[0, 1]) - 1) > 1e-6, "a plain product would have done"


def test_long_columns_are_joined_where_launches_cost_most(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [[torch.randn(BLOCK + n) for _ in range(3)] for n in range(5)]
    columns += [[torch.randn(BLOCK), None, torch.randn(BLOCK)]]
    apart = gram_matrix(columns, 3)
    monkeypatch.setattr(gram, "SHORT", {"cpu": 2**24})
    monkeypatch.setattr(gram, "GATHERED_ELSEWHERE", 8 * BLOCK)  # joined two by two and so on
    assert len(list(gram._merged(columns))) == 3
    torch.testing.assert_close(gram_matrix(columns, 3), apart, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_multiplied_in_full(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(50_000, generator=generator).to(dtype) for _ in range(2)]
    J = torch.stack(rows).double()
    torch.testing.assert_close(gram_matrix([rows], 2), J @ J.T, rtol=1e-5, atol=1e-2)
