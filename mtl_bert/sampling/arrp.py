"""Alternating round-robin PCGrad, the paper's own method (Ricci, Algorithm 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mtl_bert.sampling.deck import make_decks
from mtl_bert.sampling.epoch import Epoch, Phase, Sizes, Step, batch_sizes
from mtl_bert.sampling.round_robin import most_without_repeats, round_robin_steps
from mtl_bert.utils.validation import number, whole_number


@dataclass(frozen=True)
class ARRP:
    """Each epoch: a full round-robin phase, then fine-tuning on the largest task alone.

    Attributes:
        batch_size: examples of each task in a joint step, and of the one task in a fine-tuning
            step.
        B: examples of the largest task in the fine-tuning phase, out of those that this epoch's
            round-robin phase left; None takes all of them.
        lambda_: the penalty λ ≥ 0 on the fine-tuning phase.
        lambda_on: ``loss`` scales the loss (the paper), ``update`` the optimizer's update.
        freeze: Θ' as patterns of parameter names, see :class:`~mtl_bert.sampling.epoch.Phase`;
            ``{task}`` stands for the largest task's name.
        batch_sizes: batch sizes of tasks that have one of their own.
    """

    batch_size: int
    B: int | None = 24_000
    lambda_: float = 0.5
    lambda_on: str = "loss"
    freeze: Sequence[str] = ()
    batch_sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings."""
        whole_number("batch_size", self.batch_size)
        whole_number("B", self.B, optional=True)
        number("lambda", self.lambda_, 0.5)
        if not all(isinstance(pattern, str) for pattern in self.freeze):
            raise ValueError(
                f"freeze: expected one choice, as arrp has one phase that freezes, found "
                f"{len(self.freeze)}; write for example freeze=all_but_head"
            )
        if self.lambda_on not in ("loss", "update"):
            raise ValueError(
                f"sampler.lambda_on: expected loss or update, found {self.lambda_on!r}; "
                "write sampler.lambda_on=loss"
            )

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """Plan one epoch; the comments count the lines of Algorithm 3."""
        decks = make_decks(sizes, seed, epoch)
        t = max(sizes, key=lambda task: sizes[task])  # 1: the task with most training data
        total = most_without_repeats(sizes, self.batch_size, self.batch_sizes)
        joint = round_robin_steps(  # 3: RR-PCGrad
            decks, total, self.batch_size, self.batch_sizes, Phase("rr")
        )
        remaining = len(decks[t].remaining)  # 4: what this epoch's RR phase left of t
        sample = remaining if self.B is None else min(self.B, remaining)  # 5: sample B of it
        phase = self._fine_tuning(t)  # 6, 7: Θ' frozen, loss times λ
        alone = tuple(  # 8: B examples of t alone
            Step(phase, {t: decks[t].deal(size)})
            for size in batch_sizes(sample, self.batch_sizes.get(t, self.batch_size))
        )
        notes = []
        if not remaining:
            notes.append(f"RR left no example of {t}, so this is RR and nothing more")
        elif self.B is not None and self.B > remaining:
            notes.append(f"B={self.B} is capped at the {remaining} examples of {t} that RR left")
        if self.lambda_ > 1:
            notes.append(f"lambda={self.lambda_:g} gives {t} more weight in its own phase")
        return Epoch(epoch, joint + alone, tuple(notes))

    def _fine_tuning(self, task: str) -> Phase:
        return Phase(
            "finetune",
            surgery=False,
            lambda_=self.lambda_,
            lambda_on=self.lambda_on,
            frozen=tuple(pattern.replace("{task}", task) for pattern in self.freeze),
        )
