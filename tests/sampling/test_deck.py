import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.sampling.deck import Deck

sizes = st.integers(1, 60)
counts = st.lists(st.integers(1, 40), max_size=8)


@given(size=sizes, counts=counts)
def test_every_turn_of_the_deck_deals_each_row_once(size: int, counts: list[int]) -> None:
    deck = Deck(size, 1, "task", 1)
    dealt = np.concatenate([np.empty(0, int), *(deck.deal(count) for count in counts)])
    assert len(dealt) == sum(counts)
    for start in range(0, len(dealt), size):
        turn = dealt[start : start + size]
        assert len(set(turn.tolist())) == len(turn)
        assert set(turn.tolist()) <= set(range(size))
    assert deck.restarted == (sum(counts) > size)


def test_what_remains_is_what_comes_next() -> None:
    deck = Deck(10, 1, "task", 1)
    deck.deal(4)
    remaining = deck.remaining
    assert len(remaining) == 6
    np.testing.assert_array_equal(deck.deal(6), remaining)


def test_the_order_depends_on_seed_task_epoch_and_turn() -> None:
    def order(seed: int = 1, name: str = "a", epoch: int = 1) -> list[int]:
        return Deck(50, seed, name, epoch).deal(50).tolist()

    assert order() == order()
    others = [order(seed=2), order(name="b"), order(epoch=2)]
    assert all(other != order() for other in others)
    deck = Deck(50, 1, "a", 1)
    assert deck.deal(50).tolist() != deck.deal(50).tolist()


def test_an_empty_task_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="task sts: expected at least 1"):
        Deck(0, 1, "sts", 1)
