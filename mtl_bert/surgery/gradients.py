"""The gradient matrix: one row of gradients per represented task, and their combination.

In one process the rows are the tensors that autograd made, kept as they are: nothing is flattened
or copied (`benchmarks/surgery.py` says what else was tried). The combination is written into the
first of them.
A parameter that a task does not reach has no entry in its row (not a zero, which would still move
it under AdamW's momentum and weight decay).
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter
from torch.nn.utils import get_total_norm

from mtl_bert.surgery.gram import gram_matrices
from mtl_bert.surgery.methods.base import Method, StepStats, divisors, weights_of
from mtl_bert.surgery.one_pass import Trunk
from mtl_bert.surgery.result import StepResult
from mtl_bert.surgery.rows import GradientRows, LocalRows, Tasks
from mtl_bert.surgery.sparse import TouchedRows

SCOPES = ("all", "shared")
REDUCTIONS = ("mean", "sum")
NORMALISE = ("none", "loss")

# Elements: on a CPU larger sums are made in pieces that its cache still has when the next entry is
# added, and smaller ones cost less than to ask for them one by one.
PIECE, SMALL = 2**19, 2**14


class GradientMatrix:
    """Rows of gradients, step after step.

    Args:
        parameters: the P parameters in a fixed order. Those whose gradients come sparse (an
            ``nn.Embedding`` with ``sparse=True``) are combined in the rows that were touched, and
            get a dense gradient like all others.
        rows: where gradients wait; None keeps autograd's own.
        partly: parameters that some task was seen not to reach: with ``scope="shared"`` they are
            outside of it in the steps of one task, too. More are added as they are seen.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        rows: LocalRows | None = None,
        partly: set[Parameter] | None = None,
    ) -> None:
        self._parameters = list(parameters)
        self._rows = LocalRows() if rows is None else rows
        self._partly = set[Parameter]() if partly is None else partly
        self._touched: dict[int, TouchedRows] = {}
        self._trunk: Trunk | None = None

    def start(self, tasks: Tasks, by_layer: bool = False) -> None:
        """Begin a step, dropping what was added before; as ``Surgeon.step`` is told."""
        self._rows.start(tasks, by_layer)

    def add(
        self,
        task: str,
        loss: Tensor,
        share: float = 1.0,
        scale: float = 1.0,
        *,
        retain_graph: bool = False,
    ) -> None:
        """Go backward through a loss into the task's row.

        Args:
            task: the task whose row it is.
            loss: the mean over some of the task's examples in the step.
            share: those examples by all of the task's in the step.
            scale: of the gradient, not of the loss.
            retain_graph: keep the graph, because another task's loss shares it.

        Raises:
            RuntimeError: the loss depends on none of the parameters.
        """
        part = loss * share
        row = torch.autograd.grad(
            part * scale, self._parameters, allow_unused=True, retain_graph=retain_graph
        )
        if all(entry is None for entry in row):
            raise RuntimeError(
                f"expected a loss of {task} that depends on parameters to be trained here, found "
                "one that depends on others alone; give the surgeon all that is to be trained"
            )
        self._rows.add(task, row, part.detach())

    @contextmanager
    def one_pass(
        self, trunk: nn.Module, examples: Mapping[str, int], tokens: Mapping[str, int] | None = None
    ) -> Iterator[None]:
        """See ``Surgeon.one_pass``; ``add_together`` takes the losses within the context."""
        if self._trunk is None or self._trunk.module is not trunk:
            self._trunk = Trunk(trunk, self._parameters)
        with self._trunk.segmented(self._rows, examples, tokens):
            yield

    def add_together(
        self,
        losses: Mapping[str, Tensor],
        shares: Mapping[str, float],
        scales: Mapping[str, float] | None = None,
    ) -> None:
        """Go backward through the losses of one pass, each into its task's row.

        Args:
            losses: of the tasks; as for ``add``.
            shares: of the tasks; as for ``add``.
            scales: of the gradients, not of the losses; 1 if left out.

        Raises:
            RuntimeError: a loss depends on a parameter of the trunk in another way.
        """
        assert self._trunk is not None
        parts = {task: loss * shares[task] for task, loss in losses.items()}
        scaled = [part * (scales or {}).get(task, 1.0) for task, part in parts.items()]
        inside, outside = self._trunk.inside, self._trunk.outside
        for (task, part), loss in zip(parts.items(), scaled, strict=True):
            row: list[Tensor | None] = [None] * len(self._parameters)
            if outside:
                own = [self._parameters[p] for p in outside]
                found = torch.autograd.grad(loss, own, allow_unused=True, retain_graph=True)
                for p, entry in zip(outside, found, strict=True):
                    row[p] = entry
            self._rows.add(task, row, part.detach())
        if inside:
            shared = [self._parameters[p] for p in inside]
            self._trunk.collecting = True
            try:
                left = torch.autograd.grad(scaled, shared, allow_unused=True)
            finally:
                self._trunk.collecting = False
            if any(entry is not None for entry in left):
                raise RuntimeError(
                    "Surgeon.one_pass: expected a trunk that is called once with all tasks' "
                    "examples, as many as was said, found a parameter of it used in another way; "
                    "mend the numbers, or take the tasks one by one"
                )

    def take(self) -> GradientRows:
        """Return the rows as they are, and forget them."""
        return self._rows.take()

    def combine(
        self,
        surgery: "Surgery",
        generator: Generator | None = None,
        scale: float = 1.0,
        parts: Mapping[str, Sequence[int]] | None = None,
        epoch: int | None = None,
    ) -> StepResult:
        """Write the combined gradient into the parameters' ``grad`` and drop the rows.

        Parameters that no task reached keep ``grad is None``, and all do where the loss or gradient
        of some task is not finite.

        Args:
            surgery: what is done.
            generator: of the method's randomness.
            scale: that all rows have and the combined gradient shall not.
            parts: places of parameters whose Gram matrices are wanted by themselves, by name.
            epoch: its number, for the methods that look at epochs.
        """
        tasks, rows, losses, kept = self._rows.take()
        if not tasks:
            raise ValueError(
                "expected the loss of at least one task in a step, found none; "
                "write surgeon.backward(task, loss)"
            )
        columns = [self._column(p, entries) for p, entries in enumerate(zip(*rows, strict=True))]
        found = list(zip(self._parameters, columns, strict=True))
        self._partly.update(p for p, column in found if column.reached and not column.shared)
        in_scope = [
            surgery.scope == "all"
            or (column.shared and (len(tasks) > 1 or parameter not in self._partly))
            for parameter, column in found
        ]
        groups = [
            [c.entries for c, here in zip(columns, in_scope, strict=True) if here is side]
            for side in (True, False)
        ]
        averages = surgery.reduction == "mean"
        groups.append(
            [
                c.entries
                for c, h in zip(columns, in_scope, strict=True)
                if averages and h and not c.shared
            ]
        )
        groups += [[columns[p].entries for p in places] for places in (parts or {}).values()]
        (inside, outside, own_way, *wanted), read = gram_matrices(groups, len(tasks), losses)
        finite = torch.stack([inside.diagonal(), outside.diagonal(), read]).isfinite().all(0)
        stats = StepStats(tasks, inside / scale**2, read, epoch)
        if not finite.all():
            return StepResult(tasks, read, finite, stats.gram, None)
        weights, plain = surgery.weights(stats, generator)
        if not any(column.reached for column in itertools.compress(columns, in_scope)):
            weights = plain  # of nothing; what is reported are the weights that were used
        own, later = _overwritable(columns, kept), _Later({})

        @cache
        def factors(weighted: bool, averaged: bool) -> list[float]:
            found = (weights if weighted else plain) / scale
            return (found / len(tasks) if averaged else found).tolist()

        for parameter, column, weighted in zip(self._parameters, columns, in_scope, strict=True):
            its = factors(weighted, column.shared and averages)
            parameter.grad = column.combine(its, own, later)
        later.add_up()
        summed = own_way / scale**2 if averages else None
        grams = {name: gram / scale**2 for name, gram in zip(parts or (), wanted, strict=True)}
        return StepResult(tasks, read, finite, stats.gram, weights, summed, grams)

    def alone(self, scale: float = 1.0) -> StepResult:
        """Write the only task's gradient into the parameters' ``grad``; read nothing back.

        What there is to know stays on the device, so that a GPU is not waited for.

        Args:
            scale: that the row has and the gradient shall not.
        """
        tasks, rows, losses, kept = self._rows.take()
        if len(tasks) != 1:
            raise ValueError(
                f"expected the loss of a single task in a phase without surgery, found "
                f"{', '.join(tasks) or 'none'}; give the step a phase with surgery=True"
            )
        (row,), (loss,) = rows, losses
        columns = [self._column(p, [entry]) for p, entry in enumerate(row)]
        own = _overwritable(columns, kept)
        reached = [e for column in columns for e in column.entries if e is not None]
        # Where fp32 cannot hold the square, no optimizer that keeps squares can use the gradient.
        norm = get_total_norm(reached) if reached else torch.zeros_like(loss)
        later = _Later({})
        for parameter, column in zip(self._parameters, columns, strict=True):
            parameter.grad = column.combine([1 / scale], own, later)
        later.add_up()
        finite, squared = norm.isfinite() & loss.isfinite(), (norm / scale).double().square()
        return StepResult(tasks, loss, finite, squared, torch.ones(1).double())

    def _column(self, p: int, entries: Sequence[Tensor | None]) -> "_Column":
        """The tasks' gradients of parameter ``p``, sparse ones reduced to the rows touched."""
        sparse = [entry.is_sparse for entry in entries if entry is not None]
        if not any(sparse):
            return _Column(entries)
        if not all(sparse):  # some task uses the table in another way too
            return _Column([e.to_dense() if e is not None and e.is_sparse else e for e in entries])
        if p not in self._touched:
            self._touched[p] = TouchedRows(self._parameters[p])
        return _Column(self._touched[p].reduce(entries), self._touched[p])


@dataclass(frozen=True)
class _Column:
    """The K tasks' gradients of one parameter.

    Attributes:
        entries: None where a task does not reach the parameter.
        table: what makes a dense gradient of entries that are reduced to touched rows.
    """

    entries: Sequence[Tensor | None]
    table: TouchedRows | None = None

    @cached_property
    def shared(self) -> bool:
        """Whether every represented task reaches the parameter."""
        return all(entry is not None for entry in self.entries)

    @property
    def reached(self) -> bool:
        """Whether any of them does."""
        return any(entry is not None for entry in self.entries)

    def combine(
        self, factors: Sequence[float], own: frozenset[int], later: "_Later"
    ) -> Tensor | None:
        """The weighted sum, written into the first entry where that is nobody else's.

        Args:
            factors: of the entries.
            own: memory that may be written to.
            later: takes the sums that had better be done together.
        """
        reached = [
            (entry, factor)
            for entry, factor in zip(self.entries, factors, strict=True)
            if entry is not None
        ]
        if not reached:
            return None
        first, _ = reached[0]
        total = first if _storage(first) in own else first.clone()
        entries, weights = [total, *(entry for entry, _ in reached[1:])], [f for _, f in reached]
        if self.table is not None or (total.is_cpu and total.numel() > SMALL):
            _weighted_sum(entries, weights)
        else:
            later.sums.setdefault(tuple(weights), []).append(entries)
        return total if self.table is None else self.table.expand(total)


@dataclass(frozen=True)
class _Later:
    """Weighted sums of many parameters, by their factors: each alone costs a call or a launch.

    Attributes:
        sums: factors -> the entries of each parameter.
    """

    sums: dict[tuple[float, ...], list[list[Tensor]]]

    def add_up(self) -> None:
        """Each parameter's Σ factor · entry into its first entry."""
        for factors, columns in self.sums.items():
            first, *others = (list(entries) for entries in zip(*columns, strict=True))
            if factors[0] != 1:
                torch._foreach_mul_(first, factors[0])
            for entries, factor in zip(others, factors[1:], strict=True):
                torch._foreach_add_(first, entries, alpha=factor)


def _weighted_sum(entries: Sequence[Tensor], factors: Sequence[float]) -> None:
    """Σ factor · entry into the first entry."""
    for first, *others in _pieces(entries):
        if factors[0] != 1:
            first.mul_(factors[0])
        for other, factor in zip(others, factors[1:], strict=True):
            first.add_(other, alpha=factor)


def _pieces(entries: Sequence[Tensor]) -> Iterable[Sequence[Tensor]]:
    """The same in pieces, if they are large and in order."""
    large = entries[0].is_cpu and entries[0].numel() > PIECE
    if large and all(entry.is_contiguous() for entry in entries):
        return zip(*(torch.split(entry.view(-1), PIECE) for entry in entries), strict=True)
    return [entries]


def _overwritable(columns: Sequence[_Column], kept: Sequence[Tensor]) -> frozenset[int]:
    """The memory that holds one entry and nothing else, and what is kept for rows alone.

    Autograd may hand out one tensor as the gradient of two parameters, or views of one.
    """
    entries = [entry for column in columns for entry in column.entries if entry is not None]
    storages = [entry.untyped_storage() for entry in entries]
    places = [storage.data_ptr() for storage in storages]
    uses = Counter(places)
    return frozenset(map(_storage, kept)) | frozenset(
        place
        for entry, storage, place in zip(entries, storages, places, strict=True)
        if uses[place] == 1 and storage.nbytes() == entry.nbytes
    )


def _storage(entry: Tensor) -> int:
    return entry.untyped_storage().data_ptr()


@dataclass(frozen=True)
class Surgery:
    """A method, and what it is applied to.

    Attributes:
        method: maps the Gram matrix to weights.
        scope: which parameters enter the dot products and are weighted. ``all`` is the reference
            implementation's reading, heads included; with ``shared`` (Yu et al.) only those
            that every represented task reaches, and a head takes its own gradient. Where there are
            none, all gradients are added up.
        reduction: of parameters that every represented task reaches, ``sum`` or ``mean`` over
            tasks; the others always take the sum (docs/explanation/paper.md, 8).
        normalise: ``loss`` divides each task's loss by its own value, so that a method combines the
            gradients of log L_i and heads follow them (the first half of DB-MTL, Lin et al. 2023,
            who use it with other methods, too); ``none`` leaves losses as they are.
    """

    method: Method
    scope: str = "shared"
    reduction: str = "sum"
    normalise: str = "none"

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, value, known in (
            ("scope", self.scope, SCOPES),
            ("reduction", self.reduction, REDUCTIONS),
            ("normalise", self.normalise, NORMALISE),
        ):
            if value not in known:
                raise ValueError(
                    f"surgery.{name}: expected {' or '.join(known)}, found {value!r}; "
                    f"write surgery.{name}={known[0]}"
                )

    def weights(self, step: StepStats, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Weights [K] float64 of the gradients within the scope, and of those outside of it.

        Args:
            step: what the method may know.
            generator: of what it draws.

        Raises:
            LossError: ``normalise`` would divide by a negative loss.
        """
        if self.normalise == "none":
            return weights_of(self.method, step, generator), torch.ones_like(step.losses)
        own = 1 / divisors(self, step)
        gram, ones = step.gram * own * own[:, None], torch.ones_like(own)
        seen = replace(step, gram=gram, losses=ones)
        return own * weights_of(self.method, seen, generator), own
