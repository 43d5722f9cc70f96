"""Several labels of the same texts: tasks dealt alike, so that a step has each text once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mtl_bert.sampling.epoch import Epoch, Step, rows_used


def dealt_alike(plan: Epoch, groups: Sequence[Sequence[str]]) -> Epoch:
    """The plan in which tasks with the same texts take them in one order.

    Row n of each task of a group is about the same text. The one that the epoch uses most keeps its
    rows; each of the others takes the first of these, as many as it had, in their order. So every
    step keeps its phase, its tasks and its number of examples of each, and each task's rows come
    shuffled as before, and none again before all have been used. Where a sampler gives the tasks
    their batches in the same steps (round-robin, ARRP), the batches hold the same texts.
    """
    dealt = {}
    for group in groups:
        used = {task: rows_used(plan.steps, task) for task in group}
        most = max(used.values(), key=len)
        for task, rows in used.items():
            counts = [len(step.rows[task]) for step in plan.steps if task in step.rows]
            dealt[task] = iter(np.split(most[: len(rows)], np.cumsum(counts)[:-1]))
    steps = (
        Step(step.phase, {t: next(dealt[t]) if t in dealt else r for t, r in step.rows.items()})
        for step in plan.steps
    )
    return replace(plan, steps=tuple(steps)) if dealt else plan


def sharing(step: Step, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """The tasks of each group whose batches in a step hold the same texts, where several do."""
    found = []
    for group in groups:
        alike: dict[bytes, list[str]] = {}
        for task in group:
            if task in step.rows:
                alike.setdefault(step.rows[task].tobytes(), []).append(task)
        found += [tasks for tasks in alike.values() if len(tasks) > 1]
    return found
