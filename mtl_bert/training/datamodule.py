"""The Lightning shell around a plan: each epoch's steps, as tensors, in the plan's order."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from mtl_bert.data.collate import StepBatch, collate_step
from mtl_bert.data.encode import Encoded
from mtl_bert.sampling import Epoch, Phase, Sampler, Step

log = logging.getLogger(__name__)


class PlannedSteps(Dataset[StepBatch]):
    """The steps of an epoch, made into tensors one at a time (in workers, where there are any)."""

    def __init__(
        self,
        plan: Epoch,
        encoded: Mapping[str, Encoded],
        label_types: Mapping[str, torch.dtype],
        pad: int,
    ) -> None:
        self._plan, self._encoded, self._label_types, self._pad = plan, encoded, label_types, pad

    def __len__(self) -> int:
        """The number of steps."""
        return len(self._plan.steps)

    def __getitem__(self, number: int) -> StepBatch:
        """The tensors of one step."""
        step = self._plan.steps[number]
        return collate_step(
            self._plan.number, number, step, self._encoded, self._label_types, self._pad
        )


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
        eval_batch_size: dev examples per batch.
        workers: processes that make tensors; 0 makes them in the training process.
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
        eval_batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = {task: len(encoded) for task, encoded in train.items()}
        self._sampler, self._train, self._dev = sampler, train, dev
        self._label_types, self._pad = label_types, pad
        self._epochs, self._seed = epochs, seed
        self._eval_batch_size, self._workers = eval_batch_size, workers
        # The plan of the current epoch is asked for by several callbacks.
        self.plan = lru_cache(maxsize=1)(self._make_plan)

    def _make_plan(self, epoch: int) -> Epoch:
        return self._sampler(self.sizes, epoch, self._epochs, self._seed)

    @cached_property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(len(self._make_plan(epoch).steps) for epoch in range(1, self._epochs + 1))

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """The steps of the epoch that is about to begin."""
        assert self.trainer is not None
        plan = self.plan(self.trainer.current_epoch + 1)
        for note in plan.notes:
            log.info("epoch %d: %s", plan.number, note)
        return self._loader(plan, self._train, self._workers)

    def val_dataloader(self) -> DataLoader[StepBatch]:
        """Every dev example once, task after task."""
        return self._loader(dev_plan(self._dev, self._eval_batch_size), self._dev, 0)

    def _loader(
        self, plan: Epoch, encoded: Mapping[str, Encoded], workers: int
    ) -> DataLoader[StepBatch]:
        return DataLoader(
            PlannedSteps(plan, encoded, self._label_types, self._pad),
            batch_size=None,
            shuffle=False,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )


def dev_plan(dev: Mapping[str, Encoded], batch_size: int) -> Epoch:
    """A plan that walks through the dev sets, examples of like length together.

    Batches of random lengths are about half padding, which takes as long as text.
    """
    phase = Phase("dev")
    steps: Sequence[Step] = [
        Step(phase, {task: by_length[start : start + batch_size]})
        for task, encoded in dev.items()
        for by_length in [np.argsort(-encoded.lengths, kind="stable")]
        for start in range(0, len(encoded), batch_size)
    ]
    return Epoch(0, tuple(steps))
