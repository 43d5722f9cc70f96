import pytest
import torch
from torchjd.aggregation import NashMTL as TorchJDNashMTL

from mtl_bert.config.settings import ConfigError
from mtl_bert.surgery import NashMTL
from tests.surgery.steps import method_of, random_rows, weigh


@pytest.mark.parametrize("K", [1, 2, 3, 5, 8, 64])
def test_nash_mtl_weights_are_inverse_to_what_they_bring(K: int) -> None:
    for seed in range(20):
        rows = random_rows(K, K + 4, seed)
        weights = weigh(NashMTL(), rows)
        assert (weights > 0).all()
        shares = weights * (rows @ rows.T @ weights)
        torch.testing.assert_close(shares, torch.ones_like(shares), rtol=0, atol=1e-4)


def test_nash_mtl_finds_its_bargain_where_gradients_all_but_cancel() -> None:
    for seed in range(20):
        rows = random_rows(8, 9, seed)
        rows = rows - 0.99 * rows.mean(0)
        shares = weigh(NashMTL(), rows)
        shares = shares * (rows @ rows.T @ shares)
        torch.testing.assert_close(shares, torch.ones_like(shares), rtol=0, atol=0.05)


def test_nash_mtl_of_orthogonal_gradients_makes_them_units() -> None:
    rows = torch.diag(torch.tensor([1e-6, 0.5, 3.0, 1e6], dtype=torch.float64))
    update = weigh(NashMTL(), rows) @ rows
    torch.testing.assert_close(update, torch.ones(4, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem that is not DPP")
def test_nash_mtl_agrees_with_torchjd_wherever_that_finds_an_answer() -> None:
    agreed = 0
    for seed in range(12):
        rows = random_rows(3, 6, seed)
        theirs = TorchJDNashMTL(n_tasks=3, max_norm=0.0).weighting(rows)
        if (rows @ rows.T @ theirs * theirs - 1).abs().max() < 1e-4:
            agreed += 1
            torch.testing.assert_close(weigh(NashMTL(), rows), theirs, rtol=1e-3, atol=1e-3)
    assert agreed > 6


def test_nash_mtl_knows_nothing_of_earlier_steps() -> None:
    method = method_of("surgery=nash_mtl")
    rows = random_rows(4, 7, 2)
    expected = weigh(method, rows)
    for K in (2, 6, 4):
        weigh(method, 100 * random_rows(K, 7, K))
    assert torch.equal(weigh(method, rows), expected)


@pytest.mark.parametrize("rounds", [20, 1000])
def test_nash_mtl_of_gradients_that_sum_to_nothing_gives_next_to_no_update(rounds: int) -> None:
    g, h = random_rows(2, 6, 0)
    rows = torch.stack([g, h, -g - h])
    weights = weigh(NashMTL(rounds), rows)
    assert weights.isfinite().all()
    assert (weights > 0).all()
    assert (weights @ rows).norm() < 1e-2 * weights.max() * g.norm()


@pytest.mark.parametrize("rounds", ["0", "-1", "2.5", "many"])
def test_nash_mtl_asks_for_a_whole_number_of_rounds(rounds: str) -> None:
    with pytest.raises(
        ConfigError, match=r"rounds: expected a whole .* ≥ 1, found .*; write .*=100"
    ):
        method_of("surgery=nash_mtl", f"surgery.method.rounds={rounds}")
