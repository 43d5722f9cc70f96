"""From a sampler's plan of the tasks to the plan of a run: what single tasks and texts ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mtl_bert.sampling.balance import Classes, balanced
from mtl_bert.sampling.epoch import Epoch, Sampler, Sizes, Step
from mtl_bert.sampling.history import DynamicSampler, History, is_dynamic
from mtl_bert.sampling.length_grouping import Lengths, grouped_by_length
from mtl_bert.sampling.same_texts import Texts, dealt_alike


@dataclass(frozen=True)
class Planner:
    """Plans the epochs of a run.

    Attributes:
        sampler: plans which tasks each step sees.
        sizes: examples of each training set.
        epochs: of the whole run.
        seed: of the plans.
        max_repeats: times that an epoch may use a task's training set, where it has a limit.
        classes: of tasks whose classes are to come up equally often.
        lengths: of the examples; needed by ``group_by_length``.
        group_by_length: steps within which examples of similar length share a batch, or None.
        same_texts: groups of tasks whose examples are labels of the same texts, by their numbers.
    """

    sampler: Sampler | DynamicSampler
    sizes: Sizes
    epochs: int
    seed: int
    max_repeats: Mapping[str, float] = field(default_factory=dict)
    classes: Classes = field(default_factory=dict)
    lengths: Lengths = field(default_factory=dict)
    group_by_length: int | None = None
    same_texts: Sequence[Texts] = ()

    def __call__(self, epoch: int, history: History = ()) -> Epoch:
        """The plan of an epoch, from 1.

        A dynamic sampler is told of the epochs before this one only, whatever else is known.
        """
        plan = self.outline(epoch, history)
        if self.classes:
            plan = balanced(plan, self.classes, self.seed)
        if self.group_by_length is not None:
            plan = grouped_by_length(plan, self.lengths, self.group_by_length, self.seed)
        return dealt_alike(plan, self.same_texts)

    def outline(self, epoch: int, history: History = ()) -> Epoch:
        """The steps of an epoch with their tasks and numbers of examples, if not the very rows."""
        if is_dynamic(self.sampler):
            past = {"history": history[: epoch - 1]}
            plan = self.sampler(self.sizes, epoch, self.epochs, self.seed, **past)
        else:
            plan = self.sampler(self.sizes, epoch, self.epochs, self.seed)
        if not isinstance(plan, Epoch):
            raise TypeError(
                f"sampler: expected it to return an Epoch, found {type(plan).__name__}; write "
                "return Epoch(number, steps)"
            )
        if unseen := self.sizes.keys() - {task for step in plan.steps for task in step.rows}:
            names = ", ".join(task for task in self.sizes if task in unseen)
            plan = replace(plan, notes=(*plan.notes, f"no step has {names}"))
        return within_limits(plan, self.sizes, self.max_repeats) if self.max_repeats else plan


def within_limits(plan: Epoch, sizes: Sizes, max_repeats: Mapping[str, float]) -> Epoch:
    """The plan without what goes beyond a task's limit of examples in an epoch.

    A task that has been used ``max_repeats`` times its size is left out of the steps that follow;
    a step that has nothing left is dropped.
    """
    left = {task: int(limit * sizes[task]) for task, limit in max_repeats.items()}
    steps: list[Step] = []
    notes: dict[str, str] = {}
    for number, step in enumerate(plan.steps, 1):
        rows = dict(step.rows)
        for task in [task for task in rows if task in left]:  # in order, as notes are
            rows[task] = step.rows[task][: left[task]]
            left[task] -= len(rows[task])
            if len(rows[task]) < len(step.rows[task]):
                notes.setdefault(task, f"{task} has its max_repeats by step {number}")
        if rows := {task: of_task for task, of_task in rows.items() if len(of_task)}:
            steps.append(Step(step.phase, rows))
    return replace(plan, steps=tuple(steps), notes=(*plan.notes, *notes.values()))
