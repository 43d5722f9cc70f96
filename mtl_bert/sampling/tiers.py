"""ARRP for several large tasks and for tiers of sizes, the paper's future work (Ricci, 6.1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeGuard

from mtl_bert.sampling.deck import make_decks
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step
from mtl_bert.sampling.round_robin import most_without_repeats, round_robin_steps
from mtl_bert.utils.validation import SamplerError, number, whole_number

Patterns = Sequence[str]


@dataclass(frozen=True)
class Tiers:
    """Each epoch: round-robin over all tasks, then over ever fewer and larger ones.

    Tasks stand in tiers by their sizes. The first phase lasts until one of its tasks is used up,
    the smallest, unless another has larger batches of its own; the next is of the tiers after the
    first, until one of theirs is used up, and so on. With two tiers, the second of one task, this
    is ARRP.

    Attributes:
        batch_size: examples of each task in a step.
        growth: a new tier begins where sizes grow by more than this factor; unused with ``tiers``.
        tiers: the tasks of each tier, from small to large; None cuts them by ``growth``.
        B: examples of each task in the phases after the first, at most; None for no limit. Like
            ``lambda_`` and ``freeze`` one for all of them, or a list with one for each.
        lambda_: the penalty λ ≥ 0.
        lambda_on: ``loss`` scales the loss (the paper), ``update`` the optimizer's update.
        freeze: Θ' as patterns of parameter names; ``{task}`` stands for each of the phase's tasks.
        interleave: spread the later phases' steps evenly among the first's, so that small tasks
            never wait for a whole phase; the order within each phase stays.
        batch_sizes: batch sizes of tasks that have one of their own.
    """

    batch_size: int
    growth: float = 4.0
    tiers: Sequence[Sequence[str]] | None = None
    B: int | Sequence[int | None] | None = 24_000
    lambda_: float | Sequence[float] = 0.5
    lambda_on: str = "loss"
    freeze: Patterns | Sequence[Patterns] = ()
    interleave: bool = False
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        number("sampler.growth", self.growth, 4, least=1)
        for B in self.B if _is_list(self.B) else [self.B]:
            whole_number("B", B, optional=True)
        for lambda_ in self.lambda_ if _is_list(self.lambda_) else [self.lambda_]:
            number("lambda", lambda_, 0.5)
        if self.lambda_on not in ("loss", "update"):
            raise ValueError(
                f"sampler.lambda_on: expected loss or update, found {self.lambda_on!r}; "
                "write sampler.lambda_on=loss"
            )
        if not isinstance(self.interleave, bool):
            raise ValueError(
                f"sampler.interleave: expected true or false, found {self.interleave!r}; "
                "write sampler.interleave=true"
            )
        if self.tiers is not None and not (
            _is_list(self.tiers) and all(map(_is_list, self.tiers)) and all(self.tiers)
        ):
            raise ValueError(
                f"sampler.tiers: expected lists of tasks from small to large, or null, found "
                f"{self.tiers!r}; write for example 'sampler.tiers=[[small,medium],[large]]'"
            )

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch."""
        tiers = self.tiers_of(sizes)
        phases = len(tiers) - 1
        limits = [None, *_each("B", self.B, phases)]
        lambdas = [1.0, *_each("lambda", self.lambda_, phases)]
        freezes = [(), *_each("freeze", self.freeze, phases, single=_is_patterns)]
        decks = make_decks(sizes, seed, epoch)
        stretches: list[tuple[Step, ...]] = []
        notes = []
        for place in range(len(tiers)):
            tasks = [task for task in sizes if any(task in of_tier for of_tier in tiers[place:])]
            phase = self._phase(place, tasks, lambdas[place], freezes[place])
            remaining = {task: len(decks[task].remaining) for task in tasks}
            size = self.batch_size
            if len(tasks) == 1:  # B counts its own examples
                size = self.batch_sizes.get(tasks[0], size)
            left = most_without_repeats(remaining, size, self.batch_sizes)
            wanted = limits[place]
            if wanted is not None and wanted > left:
                notes.append(f"B={wanted} is capped at the {left} examples left for {phase.name}")
            total = left if wanted is None else min(wanted, left)
            present = {task: decks[task] for task in tasks}
            stretches.append(round_robin_steps(present, total, size, self.batch_sizes, phase))
        first, *rest = stretches
        later = [step for steps in rest for step in steps]
        steps = interleaved(first, later) if self.interleave else (*first, *later)
        return Epoch(epoch, tuple(steps), tuple(notes))

    def tiers_of(self, sizes: Sizes) -> list[list[str]]:
        """The tasks of each tier, from small to large."""
        if self.tiers is None:
            rising = sorted(sizes, key=lambda task: sizes[task])
            tiers = [[rising[0]]]
            for before, task in pairwise(rising):
                if sizes[task] > self.growth * sizes[before]:
                    tiers.append([])
                tiers[-1].append(task)
            return tiers
        tiers = [list(tier) for tier in self.tiers]
        if sorted(task for tier in tiers for task in tier) != sorted(sizes):
            raise SamplerError(
                f"sampler.tiers: expected each of {', '.join(sizes)} once, found {tiers}; "
                "write sampler.tiers=null to cut them by size"
            )
        smallest = [min(sizes[task] for task in tier) for tier in tiers]
        if smallest != sorted(smallest):
            raise SamplerError(
                f"sampler.tiers: expected tiers from small to large, found smallest tasks of "
                f"{', '.join(map(str, smallest))} examples; write them in the other order, or null"
            )
        return tiers

    def _phase(self, place: int, tasks: list[str], lambda_: float, freeze: Patterns) -> Phase:
        if place == 0:
            return Phase("rr")
        frozen = (
            pattern.replace("{task}", task)
            for pattern in freeze
            for task in (tasks if "{task}" in pattern else [""])
        )
        return Phase(
            "finetune" if len(tasks) == 1 else f"rr{place + 1}",
            surgery=len(tasks) > 1,
            lambda_=lambda_,
            lambda_on=self.lambda_on,
            frozen=tuple(frozen),
        )


def interleaved(first: Sequence[Step], later: Sequence[Step]) -> list[Step]:
    """The later steps spread evenly among the first, each in its order; a first one begins."""
    places = [(2 * i * len(later), 0, step) for i, step in enumerate(first)]
    places += [((2 * i + 1) * len(first), 1, step) for i, step in enumerate(later)]
    return [step for *_, step in sorted(places, key=lambda place: place[:2])]


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_patterns(value: object) -> bool:
    return _is_list(value) and all(isinstance(pattern, str) for pattern in value)


def _each(
    key: str,
    value: Any,
    phases: int,
    single: Callable[[object], bool] = lambda value: not _is_list(value),
) -> list[Any]:
    """A value for each of the later phases: the one there is, or those of a list."""
    if single(value):
        return [value] * phases
    if len(value) != phases:
        raise SamplerError(
            f"{key}: expected one value, or one for each of the {phases} phases after the first, "
            f"found {len(value)}; sampler.tiers says which phases there are"
        )
    return list(value)
