"""Which tasks' examples are labels of the same texts: a number for the text of each example."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mtl_bert.data.table import Encoded, Table
from mtl_bert.sampling.same_texts import Texts
from mtl_bert.tasks import Task

ENOUGH = 0.5  # of the larger one's texts; with fewer in common passes for each cost less


def same_texts(
    tasks: Sequence[Task], parts: Mapping[str, Table] | Mapping[str, Encoded]
) -> list[Texts]:
    """Groups of tasks that have at least half of their texts in common.

    A text that a set has several times counts as several. Tasks that balance their classes, or cut
    texts at other lengths, are with no others.

    Args:
        tasks: those of a run.
        parts: a set of examples of each.
    """
    groups: list[tuple[Task, dict[str, NDArray[np.int64]]]] = []
    for task in tasks:
        if task.balance or (digests := parts[task.name].digests) is None:
            continue
        own = _each_once(digests)
        for first, group in groups:
            if first.max_length == task.max_length and _many_of(group[first.name], own):
                group[task.name] = own
                break
        else:
            groups.append((task, {task.name: own}))
    return [_numbered(group) for _, group in groups if len(group) > 1]


def _each_once(digests: NDArray[np.int64]) -> NDArray[np.int64]:
    """Other numbers for a text's second and further examples."""
    order = np.argsort(digests, kind="stable")
    ordered, at = digests[order], np.arange(len(digests))
    begins = np.append(True, ordered[1:] != ordered[:-1])[: len(digests)]
    again = np.empty_like(at)
    again[order] = at - np.maximum.accumulate(np.where(begins, at, 0))
    return digests ^ (again * 0x5851F42D4C957F2D)  # any large odd number


def _many_of(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    few, wanted = min(len(a), len(b)), ENOUGH * max(len(a), len(b))
    return few >= wanted and len(np.intersect1d(a, b, assume_unique=True)) >= wanted


def _numbered(group: Mapping[str, NDArray[np.int64]]) -> Texts:
    """The same with numbers from 0."""
    numbers = np.unique(np.concatenate([*group.values()]), return_inverse=True)[1]
    ends = np.cumsum([len(own) for own in group.values()])
    return dict(zip(group, np.split(numbers, ends[:-1]), strict=True))
