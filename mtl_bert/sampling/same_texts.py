"""Several labels of the same texts: tasks dealt alike, so that a step has each text once.

A task may lack labels of some texts. What counts of a batch is the task's examples, as ever: steps
keep their tasks and numbers of examples, and only which of them share a step changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mtl_bert.sampling.epoch import Epoch, Rows, Step, rows_used

Texts = Mapping[str, Rows]
"""Tasks whose examples are labels of the same texts -> the number of each example's text."""

FORWARD, BACKWARD = 1, 2  # what passes cost of one text, as the arithmetic has it


def dealt_alike(plan: Epoch, groups: Sequence[Texts]) -> Epoch:
    """The plan in which batches of tasks with the same texts hold the same texts, where they can.

    The task of a group that the epoch uses most keeps its rows. Each of the others gets, in the
    steps that both have, the texts of that batch, as far as it has labels of them, and in the other
    places rows that the sampler drew. Every step keeps its phase, its tasks and its number of
    examples of each. No row comes again before all have been used. And of each kind of text, by the
    labels that it has, a task uses as many as its sampler drew: texts with all labels do not crowd
    out those with few.
    """
    dealt = {}
    for group in groups:
        dealt.update({task: iter(batches) for task, batches in _dealt(plan.steps, group).items()})
    steps = (
        Step(step.phase, {t: next(dealt[t]) if t in dealt else r for t, r in step.rows.items()})
        for step in plan.steps
    )
    return replace(plan, steps=tuple(steps)) if dealt else plan


def _dealt(steps: Sequence[Step], group: Texts) -> dict[str, list[Rows]]:
    """The batches of a group's tasks, but of the one that keeps its own."""
    streams = {task: _Stream(steps, task, texts) for task, texts in group.items()}
    used = [task for task, stream in streams.items() if len(stream.rows)]
    if len(used) < 2:
        return {}
    leader = max(used, key=lambda task: len(streams[task].rows))
    kinds = _kinds(group)
    before, dealt = [streams[leader]], {}
    for task in used:
        if task != leader:
            stream = streams[task]
            stream.deal(before, kinds)
            dealt[task] = np.split(stream.rows, np.cumsum(stream.counts[stream.counts > 0])[:-1])
            before.append(stream)
    return dealt


def _kinds(group: Texts) -> Rows:
    """A number for each text that says which of a group's tasks have labels of it: [texts]."""
    there = np.zeros((1 + max(int(texts.max()) for texts in group.values())), np.uint64)
    marks = np.random.default_rng(0).integers(2**64, size=len(group), dtype=np.uint64)
    for mark, texts in zip(marks, group.values(), strict=True):
        there[texts] += mark  # sums of random numbers differ, however many tasks there are
    return np.unique(there, return_inverse=True)[1]


class _Stream:
    """What an epoch uses of a task, one example after another: M of them, in S steps."""

    def __init__(self, steps: Sequence[Step], task: str, texts: Rows) -> None:
        self.rows = rows_used(tuple(steps), task)  # [M]
        self.counts = np.array([len(step.rows.get(task, ())) for step in steps])  # [S]
        self.starts = np.cumsum(self.counts) - self.counts  # [S]
        self.step = np.repeat(np.arange(len(steps)), self.counts)  # of each example: [M]
        self.place = np.arange(len(self.rows)) - self.starts[self.step]  # in its batch: [M]
        self._texts = texts

    @property
    def texts(self) -> Rows:
        """The text of each example: [M]."""
        return self._texts[self.rows]

    def deal(self, before: Sequence["_Stream"], kinds: Rows) -> None:
        """Take the texts that a step's other batches have, in the order of these tasks."""
        size, own = len(self._texts), self.rows
        turn = np.arange(len(own)) // size  # in which no row comes twice, if the sampler's has none
        row_of = np.full(len(kinds), -1)
        row_of[self._texts] = np.arange(size)
        kind_of = kinds[self._texts]
        drawn, kind = np.unique(turn * len(kinds) + kind_of[own], return_inverse=True)
        budget = np.bincount(kind, minlength=len(drawn))
        rows, taken = np.full(len(own), -1), np.empty(0, np.int64)

        def take(places: Rows, offered: Rows) -> None:
            """Take rows for some places, as far as there is one and it is not too many."""
            nonlocal taken
            places, offered = places[offered >= 0], offered[offered >= 0]
            keys = turn[places] * size + offered
            fresh = np.sort(np.unique(keys, return_index=True)[1])
            fresh = fresh[~np.isin(keys[fresh], taken)]
            places, offered, keys = places[fresh], offered[fresh], keys[fresh]
            wanted = turn[places] * len(kinds) + kind_of[offered]
            at = np.minimum(np.searchsorted(drawn, wanted), len(drawn) - 1)
            fits = (drawn[at] == wanted) & (_ranks(at) < budget[at])
            rows[places[fits]], taken = offered[fits], np.append(taken, keys[fits])
            np.subtract.at(budget, at[fits], 1)

        first, *others = before
        both = self.place < first.counts[self.step]
        at = first.starts[self.step[both]] + self.place[both]
        take(np.flatnonzero(both), row_of[first.texts[at]])
        for other in others:  # what these have in a step and the first has not
            free = np.flatnonzero(rows < 0)
            spare = ~np.isin(_pairs(other, kinds), _pairs(first, kinds))
            spare &= row_of[other.texts] >= 0
            spare_at = np.flatnonzero(spare)
            place, offer = _matched(self.step[free], other.step[spare_at])
            take(free[place], row_of[other.texts[spare_at[offer]]])
        # The other places get the sampler's own rows, in order, in each turn what is left.
        keys = turn * size + own
        again = np.isin(keys, taken) & (_ranks(np.unique(keys, return_inverse=True)[1]) == 0)
        left = np.flatnonzero(~again)
        left = left[_ranks(kind[left]) < budget[kind[left]]]
        rows[rows < 0] = own[left]
        self.rows = rows


def _pairs(stream: _Stream, kinds: Rows) -> Rows:
    """A number for each step and text of a stream: [M]."""
    return stream.step * len(kinds) + stream.texts


def _ranks(groups: Rows) -> Rows:
    """How many elements of the same group stand before each: [M]."""
    order = np.argsort(groups, kind="stable")
    ordered, at = groups[order], np.arange(len(groups))
    begins = np.ones(len(groups), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    ranks = np.empty_like(at)
    ranks[order] = at - np.maximum.accumulate(np.where(begins, at, 0))
    return ranks


def _matched(steps: Rows, offers: Rows) -> tuple[Rows, Rows]:
    """Pairs of a place and an offer of the same step, both in order: the places, the offers."""
    width = 1 + max(_ranks(part).max(initial=0) for part in (steps, offers))
    mine, theirs = (part * width + _ranks(part) for part in (steps, offers))
    _, places, found = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return places, found


def sharing(step: Step, groups: Sequence[Texts], otherwise: float = 1.0) -> list[list[str]]:
    """The tasks of each group whose texts go through the encoder together, each text once.

    A task's backward pass goes through all texts of the pass, those without its label among them.
    So the tasks are those with which the step costs least, if it costs less than without.

    Args:
        step: of the plan.
        groups: tasks whose examples are labels of the same texts.
        otherwise: what tasks that share nothing cost, by a pass for each.
    """
    found = []
    for group in groups:
        texts = {t: set(rows[step.rows[t]].tolist()) for t, rows in group.items() if t in step.rows}
        if len(texts) < 2:
            continue
        first = max(texts, key=lambda task: len(texts[task]))
        order = sorted(texts, key=lambda task: -len(texts[task] & texts[first]) - (task == first))
        alone = otherwise * (FORWARD + BACKWARD)
        costs = [alone * sum(map(len, texts.values()))]
        for count in range(2, 1 + len(order)):
            together = len(set[int]().union(*(texts[task] for task in order[:count])))
            others = sum(len(texts[task]) for task in order[count:])
            costs.append(together * (FORWARD + count * BACKWARD) + others * alone)
        if cheapest := costs.index(min(costs)):
            found.append([task for task in group if task in order[: cheapest + 1]])
    return found
