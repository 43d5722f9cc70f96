"""What dynamic samplers look back on: a value that a plan is given, like the sizes.

A run keeps it with its books, so that a plan stays a pure function, the same in all processes, and
a run that was resumed plans what it would have planned.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from mtl_bert.sampling.epoch import Epoch, Sampler, Sizes


class Seen(NamedTuple):
    """What an epoch showed of one task; None where it was not measured.

    Attributes:
        score: on the dev set, after the epoch; higher is better.
        loss: mean over the epoch's steps.
        squared_norm: of the gradient, mean over the epoch's joint steps.
    """

    score: float | None = None
    loss: float | None = None
    squared_norm: float | None = None


History = Sequence[Mapping[str, Seen]]
"""Of each finished epoch, in order: task -> what it showed."""


class DynamicSampler(Protocol):
    """A sampler that looks at the epochs before; the number of its steps must not depend on them,
    since the learning rate's schedule is made for all epochs at the start."""

    def __call__(
        self, sizes: Sizes, epoch: int, epochs: int, seed: int, history: History = ()
    ) -> Epoch:
        """Return the plan of ``epoch`` (from 1) out of ``epochs``."""
        ...


def is_dynamic(sampler: Sampler | DynamicSampler) -> bool:
    """Whether a sampler asks for a history."""
    return "history" in inspect.signature(sampler).parameters


def decided_by(sampler: object) -> str:
    """What a dynamic sampler's plans depend on, for people."""
    return str(getattr(sampler, "decided_by", "what the epochs before have shown"))


def scores(history: History, task: str) -> list[float]:
    """A task's dev scores, of the epochs that have one, in order."""
    found = (epoch[task].score for epoch in history if task in epoch)
    return [score for score in found if score is not None]
