"""Large tasks first, then all of them (Choi et al. 2023): pretrain, then fine-tune on a mixture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mtl_bert.sampling.annealed import Annealed
from mtl_bert.sampling.downsample import Downsample
from mtl_bert.sampling.epoch import Epoch, Phase, Sampler, Sizes, Step
from mtl_bert.sampling.fixed_mixture import FixedMixture
from mtl_bert.sampling.history import is_dynamic
from mtl_bert.sampling.round_robin import RoundRobin
from mtl_bert.sampling.temperature import Temperature
from mtl_bert.sampling.unimax import UniMax
from mtl_bert.sampling.vanilla import Vanilla
from mtl_bert.utils.validation import SamplerError, number, whole_number

THEN: dict[str, Any] = {
    "annealed": Annealed,
    "downsample": Downsample,
    "fixed": FixedMixture,
    "proportional": Vanilla,
    "rr": RoundRobin,
    "temperature": Temperature,
    "unimax": UniMax,
    "vanilla": Vanilla,
}
"""What the second stage may be, by the names of the command line."""


@dataclass(frozen=True)
class TwoStage:
    """Train the largest task alone for a share of the epochs, then all tasks with a mixture.

    The optimizer's state and the learning rate's schedule start over with the second stage.

    Attributes:
        batch_size: examples in one batch; a step of the first stage has as many batches as there
            are tasks, as those of mixtures have.
        B: of both stages; an epoch of the first has ⌈B / batch_size⌉ steps, or goes once through
            the large task where B is None, and one of the second what B means for the mixture.
        first_share: of all epochs, rounded to whole ones; each stage has at least one.
        then: the second stage's mixture: its name, a mapping of its name and settings such as
            ``{name: temperature, temperature: 2}``, or a sampler.
        first: tasks of the first stage; None means the largest.
        batch_sizes: batch sizes of tasks that have one of their own.
    """

    batch_size: int
    B: int | None = None
    first_share: float = 0.5
    then: str | Mapping[str, Any] | Callable[..., Epoch] = "temperature"
    first: Sequence[str] | None = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings, the mixture's among them."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)
        number("sampler.first_share", self.first_share, 0.5, exclusive=True, most=1)
        if self.first is not None and (
            isinstance(self.first, str) or not isinstance(self.first, Sequence) or not self.first
        ):
            raise ValueError(
                f"sampler.first: expected a list of tasks or null, found {self.first!r}; "
                "write for example sampler.first=[qqp]"
            )
        self.mixture()

    def mixture(self) -> Sampler:
        """The second stage's sampler."""
        if callable(self.then):
            if is_dynamic(self.then):
                raise ValueError(
                    f"sampler.then: expected a sampler that plans without looking back, found "
                    f"{type(self.then).__name__}; write for example sampler.then=temperature"
                )
            return self.then
        given = dict(self.then) if isinstance(self.then, Mapping) else {"name": self.then}
        name = given.pop("name", None)
        if not isinstance(name, str) or name not in THEN:
            raise ValueError(
                f"sampler.then: expected one of {', '.join(THEN)}, found {name!r}; "
                "write for example sampler.then=temperature"
            )
        takes = {f.name for f in fields(THEN[name])}
        run = {"batch_size": self.batch_size, "B": self.B, "batch_sizes": self.batch_sizes}
        own = sorted(takes - run.keys())
        if unknown := given.keys() - own:
            raise ValueError(
                f"sampler.then: expected settings of {name} ({', '.join(own)}), found "
                f"{', '.join(map(str, unknown))}; write sampler.then={name} for its defaults"
            )
        if self.batch_sizes and "batch_sizes" not in takes:
            raise ValueError(
                f"sampler.then: expected a mixture that draws batches of one task, as tasks have a "
                f"batch_size of their own, found {name}; write sampler.then=temperature"
            )
        sampler: Sampler = THEN[name](**{k: v for k, v in run.items() if k in takes}, **given)
        return sampler

    def first_epochs(self, epochs: int) -> int:
        """Epochs of the first stage."""
        if epochs < 2:
            raise SamplerError(
                f"epochs: expected at least 2, one for each stage, found {epochs}; write epochs=2"
            )
        return min(max(1, int(self.first_share * epochs + 0.5)), epochs - 1)

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch of the stage that it belongs to."""
        first = self.first_epochs(epochs)
        if epoch > first:
            plan = self.mixture()(sizes, epoch - first, epochs - first, seed)
            return replace(plan, number=epoch, starts_over=epoch == first + 1)
        tasks = [max(sizes, key=lambda task: sizes[task])] if self.first is None else self.first
        if unknown := set(tasks) - sizes.keys():
            raise SamplerError(
                f"sampler.first: expected tasks of {', '.join(sizes)}, found "
                f"{', '.join(map(str, unknown))}; leave it out for the largest"
            )
        own = self.batch_sizes.get(tasks[0], self.batch_size) if len(tasks) == 1 else None
        union = Vanilla(own or self.batch_size, self.B, batches_per_step=len(sizes))
        plan = union({task: sizes[task] for task in sizes if task in tasks}, epoch, epochs, seed)
        phase = Phase("first", surgery=len(tasks) > 1)
        return replace(plan, steps=tuple(Step(phase, step.rows) for step in plan.steps))
