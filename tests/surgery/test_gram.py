import torch

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
    torch.testing.assert_close(gram, gram_matrix([[a, b], [c, zero]], 2))


def test_autocast_does_not_reach_it() -> None:
    g = torch.randn(2, 1000)
    plain = gram_matrix([list(g)], 2)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gram_matrix([list(g)], 2), plain, rtol=0, atol=0)


def test_tasks_without_a_common_parameter_are_orthogonal() -> None:
    gram = gram_matrix([[torch.ones(3), None], [None, torch.ones(2)]], 2)
    assert gram.tolist() == [[3.0, 0.0], [0.0, 2.0]]
    assert gram.dtype == torch.float64
