"""The Lightning shell around a plan: the training steps of each epoch, and the dev sets."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mtl_bert.data.batch import Batch, Tokenized, as_it_is
from mtl_bert.data.corpus import Selection
from mtl_bert.data.table import Encoded
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import Epoch, Phase, Sampler, Step
from mtl_bert.sampling.loader import PlanLoader, PlanStep

PIECE = 2**20  # tokens that are digested at once, each as a number of 32 bits


NOTHING = Step(Phase("nothing left"), {})


class Rest:
    """What is left of an epoch's steps, which is how many Lightning is to expect.

    Of an epoch that was stopped between its last step and validation it is a step without tasks,
    because Lightning validates after steps alone.
    """

    def __init__(self, loader: PlanLoader[Batch]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """At least one."""
        return max(1, self._loader.steps_left)

    def __iter__(self) -> Iterator[PlanStep[Batch]]:
        """In the plan's order."""
        if self._loader.steps_left:
            yield from self._loader
        else:
            yield PlanStep(self._loader.epoch, len(self._loader), NOTHING, {})


class PlanDataModule(LightningDataModule):
    """Feeds the plan's epochs and the dev sets.

    Args:
        sampler: plans each epoch.
        train: the encoded training set of each task.
        dev: the encoded dev set of each task.
        label_types: what each task's loss expects of labels.
        epochs: that the run has.
        seed: of the plans.
        group_by_length: steps within which texts of similar length share a batch, or None for the
            sampler's own batches.
        accumulate_grad_batches: parts of a step's examples that go through the model one after
            another.
        dev_sample: examples of each dev set that are scored amid training, or None for all.
        eval_batch_size: dev examples per batch.
        num_workers: processes that make tensors; 0 makes them in the training process.

    Attributes:
        start: where in the plan training begins.
        sizes: examples of each training set.
        dev_sizes: examples of each dev set.
        sample_sizes: examples of each dev set that are scored amid training.
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
        group_by_length: int | None = None,
        accumulate_grad_batches: int = 1,
        dev_sample: int | None = None,
        eval_batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.start = Position()
        self.sizes = {task: len(encoded) for task, encoded in train.items()}
        self.sampler, self._train, self._dev = sampler, train, dev
        self._sample = Selection(limit=dev_sample).of(dev)
        self.dev_sizes = {task: len(encoded) for task, encoded in dev.items()}
        self.sample_sizes = {task: len(encoded) for task, encoded in self._sample.items()}
        self._label_types, self._eval_batch_size = label_types, eval_batch_size
        self._epochs, self._seed = epochs, seed
        self._options = {
            "accumulate_grad_batches": accumulate_grad_batches,
            "group_by_length": group_by_length,
            "lengths": {task: encoded.lengths for task, encoded in train.items()},
            "num_workers": num_workers,
        }

    @cached_property
    def _steps(self) -> PlanLoader[Batch]:
        """The training steps."""
        return self._loader(self.sampler, self._train, **self._options)

    def plan(self, epoch: int) -> Epoch:
        """What an epoch sees; the last answer is kept, as several callbacks ask for it."""
        return self._steps.plan(epoch)

    @cached_property
    def _outline(self) -> list[tuple[int, Counter[str]]]:
        """Of each epoch the steps, and the examples of each phase; plans are too large to keep."""
        outline = []
        for epoch in range(1, self._epochs + 1):
            plan = self.sampler(self.sizes, epoch, self._epochs, self._seed)
            examples = Counter[str]()
            for step in plan.steps:
                examples[step.phase.name] += step.examples
            outline.append((len(plan.steps), examples))
        return outline

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(steps for steps, _ in self._outline)

    def examples(self, epoch: int) -> Mapping[str, int]:
        """Examples of each phase of an epoch."""
        return self._outline[epoch - 1][1]

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
            for tokens in np.array_split(encoded.tokens, 1 + len(encoded.tokens) // PIECE):
                digest.update(np.ascontiguousarray(tokens, np.int32).data)
            for array in (encoded.offsets, encoded.labels):
                digest.update(b"" if array is None else np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def train_dataloader(self) -> Rest:
        """The steps of the epoch that is about to begin, or what is left of them."""
        done = self.start.step if self.epoch == self.start.epoch else 0
        self._steps.set_epoch(self.epoch, done)
        return Rest(self._steps)

    @property
    def samples(self) -> bool:
        """Whether amid training less than the whole dev sets is scored."""
        return self.sample_sizes != self.dev_sizes

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
        return self._loader(lambda *_: mine, dev, rank=0, world_size=1)

    def _loader(
        self, sampler: Sampler, encoded: Mapping[str, Encoded], **options: Any
    ) -> PlanLoader[Batch]:
        return PlanLoader(
            {task: Tokenized(part, self._label_types[task]) for task, part in encoded.items()},
            sampler,
            epochs=self._epochs,
            seed=self._seed,
            collate_fn=as_it_is,
            pin_memory=torch.cuda.is_available(),
            **options,
        )


def datamodule_of(trainer: Trainer) -> PlanDataModule:
    """What a trainer is fed with."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, PlanDataModule)
    return datamodule


class Validating(Callback):
    """Has Lightning validate after every so many epochs of the run, and after its last.

    Lightning's own setting counts the epochs from where a run was resumed.
    """

    def __init__(self, every: int, epochs: int) -> None:
        self._every, self._epochs = every, epochs

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Say whether there is a validation after this epoch."""
        epoch = datamodule_of(trainer).epoch
        trainer.limit_val_batches = 1.0 if is_scored(epoch, self._every, self._epochs) else 0


def is_scored(epoch: int, every: int, epochs: int) -> bool:
    """Whether the dev sets are scored after an epoch."""
    return epoch % every == 0 or epoch == epochs
