"""A task's examples dealt so that each class comes up equally often (Ricci, section 6.1, ii)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl_bert.sampling.deck import Deck, generator
from mtl_bert.sampling.epoch import Epoch, Rows, Step, rows_used

Classes = Mapping[str, NDArray[Any]]
"""Tasks whose classes are to be balanced -> the class of each training example: [examples]."""


def balanced(plan: Epoch, classes: Classes, seed: int) -> Epoch:
    """Deal some tasks' rows out again, every class in turn; rarer classes start over.

    Every step keeps its phase, its tasks and its number of examples of each. Among any C examples
    in a row that begin at a multiple of C there is one of each of the C classes.
    """
    dealt = {
        task: np.split(rows, np.cumsum(_counts(plan, task))[:-1])
        for task in classes
        if len(rows := _balanced(plan, task, classes[task], seed))
    }
    parts = {task: iter(of_task) for task, of_task in dealt.items()}
    steps = tuple(
        Step(
            step.phase,
            {t: next(parts[t]) if t in parts else rows for t, rows in step.rows.items()},
        )
        for step in plan.steps
    )
    return replace(plan, steps=steps)


def _counts(plan: Epoch, task: str) -> list[int]:
    return [len(step.rows[task]) for step in plan.steps if task in step.rows]


def _balanced(plan: Epoch, task: str, classes: NDArray[Any], seed: int) -> Rows:
    """As many rows as the plan has of a task: [examples]."""
    total = sum(_counts(plan, task))
    values, owner = np.unique(classes, return_inverse=True)
    rounds = np.tile(np.arange(len(values)), (-(-total // len(values)), 1))
    rng = generator(seed, f"balance {task}", plan.number)
    order = rng.permuted(rounds, axis=1).ravel()[:total]
    rows = np.empty(total, np.int64)
    for number, value in enumerate(values.tolist()):
        members, places = np.flatnonzero(owner == number), np.flatnonzero(order == number)
        deck = Deck(len(members), seed, f"{task} class {value}", plan.number)
        rows[places] = members[deck.deal(len(places))]
    return rows


def classes_used(plan: Epoch, classes: Classes) -> dict[str, dict[str, int]]:
    """How many examples of each class an epoch uses: task -> class -> examples."""
    used = {}
    for task, of_task in classes.items():
        values, counts = np.unique(of_task[rows_used(plan.steps, task)], return_counts=True)
        used[task] = dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))
    return used
