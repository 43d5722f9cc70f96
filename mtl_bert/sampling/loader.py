"""A plan as batches of anybody's data: what torch's DataLoader is for one data set."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, default_collate

from mtl_bert.sampling.balance import Classes
from mtl_bert.sampling.epoch import Epoch, Phase, Rows, Sampler, Step, portion
from mtl_bert.sampling.history import DynamicSampler, History, Seen
from mtl_bert.sampling.length_grouping import Lengths
from mtl_bert.sampling.planner import Planner
from mtl_bert.utils.validation import number, whole_number

log = logging.getLogger(__name__)

B = TypeVar("B")


class MapStyle(Protocol):
    """A data set by number, as torch calls it: ``torch.utils.data.Dataset``, a list, …"""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class Part(NamedTuple, Generic[B]):
    """Examples that go through the model at once.

    Attributes:
        batch: of them, as ``collate_fn`` made it.
        share: these examples by all of the task's in the step, in all processes.
    """

    batch: B
    share: float


class PlanStep(Generic[B]):
    """A step of the plan with its batches.

    Args:
        epoch: counted from 1.
        number: of the step in its epoch, from 0.
        plan: the step as planned: its phase, and the rows of each task in all processes.
        parts: for each of the step's tasks what this process takes of it, possibly nothing.
    """

    def __init__(
        self, epoch: int, number: int, plan: Step, parts: Mapping[str, Sequence[Part[B]]]
    ) -> None:
        self.epoch, self.number, self.plan, self.parts = epoch, number, plan, parts

    @property
    def phase(self) -> Phase:
        """What the plan says of the step: surgery or not, λ, what is frozen."""
        return self.plan.phase

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the step has, the same in every process."""
        return tuple(self.plan.rows)

    @property
    def batches(self) -> dict[str, B]:
        """A batch for each task of which this process has examples.

        Raises:
            ValueError: there are several (``accumulate_grad_batches``): go through ``parts``.
        """
        if any(len(parts) > 1 for parts in self.parts.values()):
            raise ValueError(
                "PlanStep.batches: expected one batch for each task, found several, as "
                "accumulate_grad_batches asks; go through step.parts[task], each (batch, share)"
            )
        return {task: part.batch for task, parts in self.parts.items() for part in parts}

    @property
    def shares(self) -> dict[str, float]:
        """For each of ``batches``, its examples by all of the task's, in all processes."""
        return {task: sum(part.share for part in parts) for task, parts in self.parts.items()}

    def to(self, device: Any, non_blocking: bool = True) -> "PlanStep[B]":
        """Return the step with its tensors on a ``device``; ``non_blocking`` as for torch."""
        parts = {
            task: [Part(moved(part.batch, device, non_blocking), part.share) for part in parts]
            for task, parts in self.parts.items()
        }
        return PlanStep(self.epoch, self.number, self.plan, parts)


class PlanLoader(Generic[B]):
    """Loads an epoch's steps, in the plan's order, as batches of several data sets.

        loader = PlanLoader({"a": a, "b": b}, ARRP(batch_size=8), epochs=10, seed=1)
        for epoch in range(1, 11):
            loader.set_epoch(epoch)
            for step in loader:
                ...  # step.phase, step.batches: {task: batch}

    The order is a function of the sizes, the sampler, the epoch and the seed, so nothing but the
    place has to be saved, and every process knows the others' steps without asking.

    Args:
        datasets: map-style data sets by task. One with ``__getitems__(rows)`` is asked for all rows
            of a batch at once, as torch does it.
        sampler: plans each epoch: one of ours, or a function (sizes, epoch, epochs, seed) -> Epoch.
            One that also takes a ``history`` is given what ``add_history`` was told.
        epochs: of the whole run.
        seed: of the plans.
        collate_fn: examples to a batch, for all tasks or by task; torch's default if left out.
        accumulate_grad_batches: parts of each task's examples that go through the model one after
            another; ``step.parts`` has them.
        group_by_length: steps within which examples of similar length share a batch (less padding),
            or None for the sampler's own batches.
        lengths: of the examples, by task: [examples] each; needed by ``group_by_length``.
        classes: of the examples of tasks whose classes are to come up equally often, the rarer ones
            starting over: [examples] each.
        max_repeats: times that an epoch may use a task's examples, where there is a limit.
        same_texts: groups of tasks whose examples are labels of the same texts: for each task a
            number for the text of each example, ``[{"a": range(9), "b": [0, 2, 3]}]`` where b lacks
            labels. Where a sampler gives them batches in the same steps, these hold the same texts
            as far as there are labels of them.
        rank: this process's number; torch.distributed's if left out.
        world_size: how many processes share each step; torch.distributed's if left out.
        options: torch's DataLoader arguments: ``num_workers``, ``pin_memory``, ``timeout``, …

    Raises:
        ValueError: no data sets, an empty one, or an argument out of range.
    """

    def __init__(
        self,
        datasets: Mapping[str, MapStyle],
        sampler: Sampler | DynamicSampler,
        *,
        epochs: int,
        seed: int = 0,
        collate_fn: Callable[[Any], B] | Mapping[str, Callable[[Any], B]] = default_collate,
        accumulate_grad_batches: int = 1,
        group_by_length: int | None = None,
        lengths: Lengths | None = None,
        classes: Classes | None = None,
        max_repeats: Mapping[str, float] | None = None,
        same_texts: Sequence[Mapping[str, Sequence[int] | Rows]] = (),
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        self.sizes = {task: len(dataset) for task, dataset in datasets.items()}
        for task, size in self.sizes.items() or [("datasets", 0)]:
            if not size:
                raise ValueError(
                    f"{task}: expected at least one example, found none; "
                    "write PlanLoader({'task': dataset, ...}, sampler, epochs=10)"
                )
        whole_number("epochs", epochs)
        whole_number("accumulate_grad_batches", accumulate_grad_batches)
        whole_number("group_by_length", group_by_length, optional=True)
        if refused := {"batch_size", "shuffle", "sampler", "batch_sampler"} & options.keys():
            raise ValueError(
                f"PlanLoader: expected arguments that leave batches to the plan, found "
                f"{', '.join(sorted(refused))}; give the sampler its batch_size"
            )
        if group_by_length is not None and (lengths is None or lengths.keys() != self.sizes.keys()):
            raise ValueError(
                "lengths: expected the length of every example of every task, as group_by_length "
                "needs it, found none or others; write lengths={'task': array, ...}"
            )
        for task, found in (classes or {}).items():
            if len(found) != self.sizes.get(task):
                raise ValueError(
                    f"classes: expected the class of each of {task}'s {self.sizes.get(task, 0)} "
                    f"examples, found {len(found)}; write classes={{{task!r}: labels}}"
                )
        for task, limit in (max_repeats or {}).items():
            if task not in self.sizes:
                raise ValueError(
                    f"max_repeats: expected tasks of {', '.join(self.sizes)}, found {task!r}; "
                    "leave it out"
                )
            number(f"max_repeats[{task!r}]", limit, 2, exclusive=True)
        for task, texts in [pair for group in same_texts for pair in group.items()]:
            if len(texts) != self.sizes.get(task) or task in (classes or {}):
                raise ValueError(
                    "same_texts: expected the number of each example's text, of tasks without "
                    f"balanced classes, found {len(texts)} for {task} with "
                    f"{self.sizes.get(task, 0)} examples; leave it out"
                )
        self.epochs, self.seed = epochs, seed
        self.planner = Planner(
            sampler,
            self.sizes,
            epochs,
            seed,
            max_repeats=max_repeats or {},
            classes=classes or {},
            lengths=lengths or {},
            group_by_length=group_by_length,
            same_texts=[
                {task: np.asarray(texts, np.int64) for task, texts in group.items()}
                for group in same_texts
            ],
        )
        self._history: History = ()
        self._datasets, self._collate, self._options = datasets, collate_fn, options
        self._parts, self._rank, self._world_size = accumulate_grad_batches, rank, world_size
        self._epoch, self._first, self._done = 1, 0, 0
        self._over = False  # the epoch, and nobody has said which is next
        self._plan = lru_cache(maxsize=1)(self._make_plan)
        self._fingerprint = lru_cache(maxsize=1)(self._make_fingerprint)

    @property
    def epoch(self) -> int:
        """The epoch whose steps come next, counted from 1."""
        return self._epoch

    def set_epoch(self, epoch: int, step: int | None = None) -> None:
        """Choose the epoch whose steps come next.

        Args:
            epoch: counted from 1.
            step: with which to begin, from 0. If left out: the epoch's first; or, where this is the
                epoch of a state that was loaded, the one after the last that was done.

        Raises:
            ValueError: the run has no such epoch.
        """
        if not 1 <= epoch <= self.epochs:
            raise ValueError(
                f"PlanLoader.set_epoch: expected an epoch from 1 to {self.epochs}, found {epoch}; "
                "count epochs from 1, or write PlanLoader(..., epochs=N) with the N of the run"
            )
        self._over = False
        if epoch != self._epoch or step is not None:
            self._epoch, self._first, self._done = epoch, step or 0, step or 0

    def add_history(self, seen: Mapping[str, Seen]) -> None:
        """Tell dynamic samplers what the next epoch in turn, the first at first, has shown.

            loader.add_history({"sst": Seen(score=0.48), "qqp": Seen(score=0.81)})

        Args:
            seen: dev score, mean loss and mean squared gradient norm of each task, where known.
        """
        self.history = [*self._history, seen]

    @property
    def history(self) -> History:
        """What each finished epoch has shown of each task, for samplers that look back."""
        return self._history

    @history.setter
    def history(self, seen: History) -> None:
        if seen != self._history:
            self._history = [{task: Seen(*found) for task, found in of.items()} for of in seen]
            self._plan.cache_clear()
            self._fingerprint.cache_clear()

    def plan(self, epoch: int | None = None) -> Epoch:
        """The plan of an epoch, this one's if left out."""
        return self._plan(self._epoch if epoch is None else epoch)

    def __len__(self) -> int:
        """How many steps the epoch has, those done before a state was saved among them."""
        return len(self.plan().steps) if self._epoch <= self.epochs else 0

    @property
    def steps_left(self) -> int:
        """The steps that the next iteration has."""
        return max(0, len(self) - self._first)

    def __iter__(self) -> Iterator[PlanStep[B]]:
        """The epoch's steps, or those left of it where a state was loaded."""
        if not self.steps_left:
            return
        if self._over and self.epochs > 1:
            warnings.warn(
                f"PlanLoader: epoch {self._epoch} again, with the same batches; write "
                "loader.set_epoch(epoch) where each epoch begins",
                stacklevel=2,
            )
        plan, first = self.plan(), self._first
        if first == 0:
            for note in plan.notes:
                log.warning("epoch %d: %s", plan.number, note)
        steps = _Steps(plan, first, self._datasets, self._collate, *self._place(), self._parts)
        # Torch draws the workers' seed, by default from the generator that dropout draws from, and
        # a loop that goes on in mid-epoch would have other masks than one that never stopped.
        seed = int(np.random.SeedSequence((self.seed, plan.number)).generate_state(1)[0])
        options = {"generator": torch.Generator().manual_seed(seed), **self._options}
        for place, parts in DataLoader(steps, batch_size=None, collate_fn=_as_is, **options):
            self._done = place + 1
            yield PlanStep(plan.number, place, plan.steps[place], parts)
        self._first, self._over = 0, True

    def state_dict(self) -> dict[str, Any]:
        """Where in the plan training stands: the step that was given out last counts as done.

        After an epoch's last step that is the beginning of the next.
        """
        epoch, step = (self._epoch, self._done) if self._done < len(self) else (self._epoch + 1, 0)
        plan = self._fingerprint(min(epoch, self.epochs))
        history = [{task: tuple(seen) for task, seen in past.items()} for past in self._history]
        return {"epoch": epoch, "step": step, "plan": plan, "history": history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict``, with the step after the last that was done.

        Raises:
            ValueError: the state is of other sizes, another sampler, or another seed.
        """
        epoch, step = int(state["epoch"]), int(state["step"])
        self.history = state["history"]
        if state["plan"] != self._fingerprint(min(epoch, self.epochs)):
            raise ValueError(
                "PlanLoader.load_state_dict: expected a state of the same sampler, seed, epochs "
                "and sizes of data sets, found another's; make the loader as it was, or start anew"
            )
        self._epoch, self._first, self._done, self._over = epoch, step, step, False

    def _make_plan(self, epoch: int) -> Epoch:
        return self.planner(epoch, self._history)

    def _place(self) -> tuple[int, int]:
        """This process's number and how many there are."""
        there = dist.is_available() and dist.is_initialized()
        rank = self._rank if self._rank is not None else dist.get_rank() if there else 0
        if self._world_size is not None:
            return rank, self._world_size
        return rank, dist.get_world_size() if there else 1

    def _make_fingerprint(self, epoch: int) -> str:
        """What tells the plans of an epoch apart, down to the last row."""
        digest = hashlib.blake2b(digest_size=8)
        for step in self.plan(epoch).steps:
            for task, rows in step.rows.items():
                digest.update(f"{step.phase.name}/{task}".encode() + rows.tobytes())
        return digest.hexdigest()


class _Steps(Dataset[tuple[int, dict[str, list[Part[Any]]]]]):
    """The batches of an epoch's steps, made a step at a time (in workers, where there are any)."""

    def __init__(
        self,
        plan: Epoch,
        first: int,
        datasets: Mapping[str, MapStyle],
        collate: Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]],
        rank: int,
        world_size: int,
        parts: int,
    ) -> None:
        self._plan, self._first, self._datasets, self._collate = plan, first, datasets, collate
        self._rank, self._world_size, self._parts = rank, world_size, parts

    def __len__(self) -> int:
        return max(0, len(self._plan.steps) - self._first)

    def __getitem__(self, index: int) -> tuple[int, dict[str, list[Part[Any]]]]:
        number = self._first + index
        rows = self._plan.steps[number].rows
        return number, {task: list(self._batches(task, of_task)) for task, of_task in rows.items()}

    def _batches(self, task: str, rows: Rows) -> Iterator[Part[Any]]:
        """This process's batches; fewer, or none, where there are not so many examples."""
        for part in parts_of(rows, self._rank, self._world_size, self._parts):
            yield Part(self._batch(task, part), len(part) / len(rows))

    def _batch(self, task: str, rows: Rows) -> Any:
        dataset = self._datasets[task]
        collate = self._collate[task] if isinstance(self._collate, Mapping) else self._collate
        if hasattr(dataset, "__getitems__"):
            return collate(dataset.__getitems__(rows.tolist()))
        return collate([dataset[row] for row in rows.tolist()])


def parts_of(rows: Rows, rank: int = 0, world_size: int = 1, parts: int = 1) -> list[Rows]:
    """What a process takes of a task's rows in a step, in so many parts, leaving out empty ones."""
    mine = portion(rows, rank, world_size)
    return [part for number in range(parts) if len(part := portion(mine, number, parts))]


def _as_is(step: Any) -> Any:
    return step


def moved(batch: Any, device: Any, non_blocking: bool = True) -> Any:
    """A batch with its tensors on a device: a tensor, a mapping or sequence, or what has ``to``."""
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=non_blocking)
    if isinstance(batch, Mapping):
        return {key: moved(value, device, non_blocking) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device, non_blocking) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device, non_blocking) for value in batch)
    return batch
