"""The Lightning shell around a plan: the training steps of each epoch, and the dev sets."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.data.batch import Batch, Tokenized, as_it_is
from mtl_bert.data.corpus import Selection
from mtl_bert.data.table import Encoded
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import Epoch, Phase, Sampler, Seen, Step
from mtl_bert.sampling.balance import classes_used
from mtl_bert.sampling.loader import PlanLoader, PlanStep
from mtl_bert.sampling.same_texts import Texts

DEV_SETS = "dev sets"


class Outline(NamedTuple):
    """What is known of an epoch without its rows."""

    steps: int
    examples: Counter[str]  # of each phase
    starts_over: bool


class Rest:
    """What is left of an epoch's steps, for Lightning, which validates after steps alone.

    So of an epoch that was stopped between its last step and validation it is one without tasks.
    """

    def __init__(self, loader: PlanLoader[Batch]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return max(1, self._loader.steps_left)

    def __iter__(self) -> Iterator[PlanStep[Batch]]:
        if self._loader.steps_left:
            return iter(self._loader)
        nothing = Step(Phase("nothing left"), {})
        return iter([PlanStep(self._loader.epoch, len(self._loader), nothing, {})])


class PlanDataModule(LightningDataModule):
    """Feeds the plan's epochs and the dev sets.

    Args:
        label_types: what each task's loss expects of labels.
        validate_every: epochs from one scoring of the dev sets to the next.
        dev_sample: examples of each dev set that are scored amid training, or None for all.
        select: the dev examples that are scored amid training, where they are others than ``dev``.
        balance: tasks whose classes are to come up equally often.
        same_texts: groups of tasks whose examples are labels of the same texts, by their numbers.
        options: how the ``PlanLoader`` of the training steps makes batches.

    Attributes:
        start: where in the plan training begins.
        history: what the epochs so far have shown, for samplers that look back.
        sizes, dev_sizes, sample_sizes: examples of each training set, of each dev set, and of those
            how many are scored amid training.
    """

    def __init__(
        self,
        sampler: Sampler,
        train: Mapping[str, Encoded],
        dev: Mapping[str, Encoded],
        label_types: Mapping[str, torch.dtype],
        *,
        epochs: int,
        seed: int,
        validate_every: int = 1,
        dev_sample: int | None = None,
        select: Mapping[str, Encoded] | None = None,
        eval_batch_size: int = 64,
        balance: Collection[str] = (),
        same_texts: Sequence[Texts] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        self.start = Position()
        self.history: list[Mapping[str, Seen]] = []
        labels = {task: train[task].labels for task in balance if task in train}
        self.classes = {task: of for task, of in labels.items() if of is not None}
        self.sampler, self._train, self._dev = sampler, train, dev
        self._sample = Selection(limit=dev_sample).of(dev if select is None else select)
        self.selects = select is not None
        self.sizes, self.dev_sizes, self.sample_sizes = (
            {task: len(encoded) for task, encoded in part.items()}
            for part in (train, dev, self._sample)
        )
        self._label_types, self._eval_batch_size = label_types, eval_batch_size
        self.epochs, self._seed, self._validate_every = epochs, seed, validate_every
        self.same_texts, self._options = same_texts, options

    @cached_property
    def _steps(self) -> PlanLoader[Batch]:
        lengths = {task: encoded.lengths for task, encoded in self._train.items()}
        options: Any = {"lengths": lengths, "classes": self.classes, **self._options}
        options["same_texts"] = self.same_texts
        return self._loader(self.sampler, self._train, **options)

    def plan(self, epoch: int) -> Epoch:
        """What an epoch sees; the last answer is kept, as several callbacks ask for it."""
        self._steps.history = self.history
        return self._steps.plan(epoch)

    def is_scored(self, epoch: int) -> bool:
        """Whether the dev sets are scored after an epoch."""
        return epoch % self._validate_every == 0 or epoch == self.epochs

    @cached_property
    def _outline(self) -> list["Outline"]:
        """Of each epoch; plans are too large to keep."""
        outline = []
        for epoch in range(1, self.epochs + 1):
            plan = self._steps.planner.outline(epoch)
            examples = Counter[str]()
            for step in plan.steps:
                examples[step.phase.name] += step.examples
            outline.append(Outline(len(plan.steps), examples, plan.starts_over))
        return outline

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(epoch.steps for epoch in self._outline)

    def starts_over(self, epoch: int) -> bool:
        """Whether the optimizer and its schedule begin anew with an epoch."""
        return self._outline[epoch - 1].starts_over

    def stage_steps(self, epoch: int) -> int:
        """Steps of the stage that an epoch belongs to: of the run, where nothing starts over."""
        stages = accumulate(int(each.starts_over) for each in self._outline)
        parts = [(stage, each.steps) for stage, each in zip(stages, self._outline, strict=True)]
        return sum(steps for stage, steps in parts if stage == parts[epoch - 1][0])

    def work_ahead(self) -> Counter[str]:
        """Examples of each phase, and of the dev sets, between where a run begins and its end."""
        ahead = Counter[str]()
        for epoch in range(self.start.epoch, self.epochs + 1):
            ahead.update(self._outline[epoch - 1].examples)
            if self.is_scored(epoch):
                ahead[DEV_SETS] += sum(self.sample_sizes.values())
        for step in self.plan(self.start.epoch).steps[: self.start.step]:
            ahead[step.phase.name] -= step.examples
        if self.samples:  # at the end, for the last epoch and for the best, which may be one
            ahead[DEV_SETS] += 2 * sum(self.dev_sizes.values())
        return ahead

    def classes_used(self, plan: Epoch) -> dict[str, dict[str, int]]:
        """Examples of each class that an epoch uses, of tasks that balance them."""
        return classes_used(plan, self.classes)

    @property
    def epoch(self) -> int:
        """The epoch that is going on, counted from 1."""
        assert self.trainer is not None
        return self.start.epoch + self.trainer.current_epoch

    def digest(self) -> str:
        """What tells training sets apart."""
        digest = hashlib.blake2b(digest_size=16)
        for task, encoded in self._train.items():
            digest.update(task.encode())
            for array in (encoded.tokens, encoded.offsets, encoded.labels):
                digest.update(b"" if array is None else np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def train_dataloader(self) -> Rest:
        """The steps of the epoch that is about to begin, or what is left of them."""
        done = self.start.step if self.epoch == self.start.epoch else 0
        self._steps.history = self.history
        self._steps.set_epoch(self.epoch, done)
        return Rest(self._steps)

    @property
    def samples(self) -> bool:
        """Whether amid training something else than the whole dev sets is scored."""
        return self.selects or self.sample_sizes != self.dev_sizes

    def val_dataloader(self) -> PlanLoader[Batch]:
        """Every dev example once, amid training those of the sample, task after task.

        Examples of like length are together; batches are dealt out among the processes.
        """
        dev, rank, processes = self._dev, 0, 1
        if self.trainer is not None:
            rank, processes = self.trainer.global_rank, self.trainer.world_size
            dev = self._sample if self.trainer.state.fn == TrainerFn.FITTING else dev
        some = sum(map(len, dev.values())) // processes  # no process may be left without a batch
        size, phase = max(1, min(self._eval_batch_size, some)), Phase("dev")
        steps = [Step(phase, {task: rows}) for task in dev for rows in dev[task].batches(size)]
        mine = Epoch(0, tuple(steps[rank::processes]))
        return self._loader(lambda *_: mine, dev, epochs=1, rank=0, world_size=1)

    def _loader(
        self, sampler: Sampler, encoded: Mapping[str, Encoded], **options: Any
    ) -> PlanLoader[Batch]:
        return PlanLoader(
            {task: Tokenized(part, self._label_types[task]) for task, part in encoded.items()},
            sampler,
            seed=self._seed,
            collate_fn=as_it_is,
            pin_memory=torch.cuda.is_available(),
            **{"epochs": self.epochs, **options},
        )
