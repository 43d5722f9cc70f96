"""The randomness of a step is a function of (seed, epoch, step, rank), so there is none to save."""

import numpy as np
import torch

DROPOUT, ORDER = 0, 1


def _number(seed: int, purpose: int, epoch: int, step: int, rank: int) -> int:
    state = np.random.SeedSequence((seed, purpose, epoch, step, rank)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seed_dropout(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch's generators for what the model draws in a step."""
    torch.manual_seed(_number(seed, DROPOUT, epoch, step, rank))


def order_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The generator of a step's projection order, the same in every process."""
    return torch.Generator().manual_seed(_number(seed, ORDER, epoch, step, rank=0))
