"""Batches of texts of similar length, so that less of them is padding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mtl_bert.sampling.deck import generator
from mtl_bert.sampling.epoch import Epoch, Phase, Rows, Step

Lengths = Mapping[str, Rows]
"""Tokens of each task's training examples: task -> [examples]."""


def grouped_by_length(plan: Epoch, lengths: Lengths, window: int, seed: int) -> Epoch:
    """Deal an epoch's rows out again, by length, within windows of its phases.

    In each window every task's rows are put in order of length and cut into batches of the sizes
    that its steps have, and which step gets which batch is drawn. So each step keeps its phase, its
    tasks and its number of examples of each, and each window its examples: only which of them share
    a step changes. Where a window's batches are of one size, no other deal of it has less padding.

    Args:
        plan: the epoch.
        lengths: of every row that the plan may use.
        window: consecutive steps of a phase that are dealt together; the last may be fewer.
        seed: the run's.
    """
    rngs = {task: generator(seed, f"bucket {task}", plan.number) for task in lengths}
    dealt: dict[Phase, Iterator[Step]] = {}
    for phase, steps in plan.phases():
        windows = [steps[start : start + window] for start in range(0, len(steps), window)]
        dealt[phase] = iter([step for part in windows for step in _dealt(part, lengths, rngs)])
    return replace(plan, steps=tuple(next(dealt[step.phase]) for step in plan.steps))


def _dealt(
    steps: Sequence[Step], lengths: Lengths, rngs: Mapping[str, np.random.Generator]
) -> Iterator[Step]:
    """A window's steps with other rows."""
    tasks = {task for step in steps for task in step.rows}
    batches = {task: _deal(steps, task, lengths[task], rngs[task]) for task in tasks}
    for step in steps:
        yield replace(step, rows={task: next(batches[task]) for task in step.rows})


def _deal(
    steps: Sequence[Step], task: str, lengths: Rows, rng: np.random.Generator
) -> Iterator[Rows]:
    """New batches of a task for those of the steps that have it, in the order of the steps."""
    batches = [step.rows[task] for step in steps if task in step.rows]
    rows = np.concatenate(batches)
    # Rows come shuffled and the sort is stable: among equal lengths, other ones meet in each epoch.
    by_length = np.argsort(lengths[rows], kind="stable")
    turn = rng.permutation(len(batches))
    ends = np.cumsum([len(batches[step]) for step in turn])
    cut = dict(zip(turn.tolist(), np.split(by_length, ends[:-1]), strict=True))
    # Back in the order of the plan: processes take a batch's first and last rows, whatever length.
    return (rows[np.sort(cut[step])] for step in range(len(batches)))
