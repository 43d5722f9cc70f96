import torch

from mtl_bert.training.step import order_generator, seed_dropout


def draws(*key: int) -> list[float]:
    with torch.random.fork_rng():
        seed_dropout(*key)
        return torch.rand(4).tolist()


def test_a_steps_dropout_is_a_function_of_seed_epoch_step_and_rank() -> None:
    assert draws(1, 2, 3, 0) == draws(1, 2, 3, 0)
    keys = [(1, 2, 3, 0), (2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1), (2, 1, 3, 0)]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_projection_orders_differ_between_steps_and_not_between_ranks() -> None:
    def order(*key: int) -> list[int]:
        return torch.randperm(20, generator=order_generator(*key)).tolist()

    assert order(1, 2, 3) == order(1, 2, 3)
    assert len({tuple(order(*key)) for key in [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3)]}) == 4
