"""The Lightning shell around a plan: each epoch's steps, as tensors, in the plan's order."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from mtl_bert.data.batch import Share, StepBatch, collate_step
from mtl_bert.data.encoded import Encoded
from mtl_bert.data.subset import Selection
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import Epoch, Phase, Sampler, Step
from mtl_bert.sampling.length_grouping import bucketed


class Validating(Callback):
    """Has Lightning validate after every so many epochs of the run, and after its last.

    Lightning's own setting counts the epochs from where a run was resumed.

    Args:
        every: epochs from one validation to the next.
        epochs: of the whole run.
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


log = logging.getLogger(__name__)

PIECE = 2**20  # tokens that are digested at once, each as a number of 32 bits


class PlannedSteps(Dataset[StepBatch]):
    """The steps of an epoch, made into tensors one at a time (in workers, where there are any).

    Args:
        plan: the epoch.
        numbers: of the steps, in order.
        encoded: the tasks' tokens.
        label_types: what each task's loss expects of labels.
        pad: the padding token's number.
        share: of each step that is taken.
    """

    def __init__(
        self,
        plan: Epoch,
        numbers: Sequence[int],
        encoded: Mapping[str, Encoded],
        label_types: Mapping[str, torch.dtype],
        pad: int,
        share: Share,
    ) -> None:
        self._plan, self._numbers, self._share = plan, numbers, share
        self._encoded, self._label_types, self._pad = encoded, label_types, pad

    def __len__(self) -> int:
        """The number of steps."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> StepBatch:
        """The tensors of one step."""
        number = self._numbers[index]
        step = NOTHING if number == len(self._plan.steps) else self._plan.steps[number]
        return collate_step(
            self._plan.number,
            number,
            step,
            self._encoded,
            self._label_types,
            self._pad,
            self._share,
        )


NOTHING = Step(Phase("nothing left"), {})
"""What Lightning is given of an epoch that was stopped between its last step and validation."""


class PlanDataModule(LightningDataModule):
    """Feeds the plan's epochs and the dev sets.

    Args:
        sampler: plans each epoch.
        train: the encoded training set of each task.
        dev: the encoded dev set of each task.
        label_types: what each task's loss expects of labels.
        pad: the padding token's number.
        epochs: that the run has.
        seed: of the plans.
        bucket: steps whose examples are dealt out by length, or None for the sampler's own batches.
        accumulate: parts of a step's examples that go through the model one after another.
        dev_sample: examples of each dev set that are scored amid training, or None for all.
        eval_batch_size: dev examples per batch.
        workers: processes that make tensors; 0 makes them in the training process.

    Attributes:
        sampler: plans each epoch.
        start: where in the plan training begins.
        dev_sizes: examples of each dev set.
        sample_sizes: examples of each dev set that are scored amid training.
    """

    def __init__(
        self,
        sampler: Sampler,
        train: Mapping[str, Encoded],
        dev: Mapping[str, Encoded],
        label_types: Mapping[str, torch.dtype],
        pad: int,
        *,
        epochs: int,
        seed: int,
        bucket: int | None = None,
        accumulate: int = 1,
        dev_sample: int | None = None,
        eval_batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.start = Position()
        self.sizes = {task: len(encoded) for task, encoded in train.items()}
        self.sampler, self._train, self._dev = sampler, train, dev
        self._sample = Selection(limit=dev_sample).of(dev)
        self.dev_sizes = {task: len(encoded) for task, encoded in dev.items()}
        self.sample_sizes = {task: len(encoded) for task, encoded in self._sample.items()}
        self._label_types, self._pad = label_types, pad
        self._epochs, self._seed = epochs, seed
        self._bucket = bucket
        self._accumulate, self._eval_batch_size = accumulate, eval_batch_size
        self._workers = workers
        # The plan of the current epoch is asked for by several callbacks.
        self.plan = lru_cache(maxsize=1)(self._make_plan)

    def _draw(self, epoch: int) -> Epoch:
        return self.sampler(self.sizes, epoch, self._epochs, self._seed)

    def _make_plan(self, epoch: int) -> Epoch:
        plan = self._draw(epoch)
        if self._bucket is None:
            return plan
        lengths = {task: encoded.lengths for task, encoded in self._train.items()}
        return bucketed(plan, lengths, self._bucket, self._seed)

    @cached_property
    def _outline(self) -> list[tuple[int, Counter[str]]]:
        """Of each epoch the steps, and the examples of each phase; plans are too large to keep."""
        outline = []
        for epoch in range(1, self._epochs + 1):
            steps, examples = self._draw(epoch).steps, Counter[str]()
            for step in steps:
                examples[step.phase.name] += step.examples
            outline.append((len(steps), examples))
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

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """The steps of the epoch that is about to begin, or what is left of them."""
        assert self.trainer is not None
        plan = self.plan(self.epoch)
        for note in plan.notes:
            log.info("epoch %d: %s", plan.number, note)
        done = self.start.step if self.epoch == self.start.epoch else 0
        steps = range(done, max(len(plan.steps), done + 1))
        share = Share(*self._place(), self._accumulate)
        return self._loader(plan, steps, self._train, share, self._workers)

    @property
    def samples(self) -> bool:
        """Whether amid training less than the whole dev sets is scored."""
        return self.sample_sizes != self.dev_sizes

    def val_dataloader(self) -> DataLoader[StepBatch]:
        """Every dev example once, amid training those of the sample, task after task.

        Batches are dealt out among the processes.
        """
        amid = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        dev = self._sample if amid else self._dev
        process, processes = self._place()
        some = sum(map(len, dev.values())) // processes  # no process may be left without a batch
        plan = dev_plan(dev, max(1, min(self._eval_batch_size, some)))
        steps = range(process, len(plan.steps), processes)
        return self._loader(plan, steps, dev, Share(), 0)

    def _place(self) -> tuple[int, int]:
        """This process's number and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self,
        plan: Epoch,
        steps: Sequence[int],
        encoded: Mapping[str, Encoded],
        share: Share,
        workers: int,
    ) -> DataLoader[StepBatch]:
        return DataLoader(
            PlannedSteps(plan, steps, encoded, self._label_types, self._pad, share),
            batch_size=None,
            shuffle=False,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )


def datamodule_of(trainer: Trainer) -> PlanDataModule:
    """What a trainer is fed with."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, PlanDataModule)
    return datamodule


def dev_plan(dev: Mapping[str, Encoded], batch_size: int) -> Epoch:
    """A plan that walks through the dev sets, examples of like length together."""
    phase = Phase("dev")
    steps: Sequence[Step] = [
        Step(phase, {task: rows})
        for task, encoded in dev.items()
        for rows in encoded.batches(batch_size)
    ]
    return Epoch(0, tuple(steps))
