"""Phases in which tasks meet, as a training would record them."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from mtl_bert.runs.results import Conflicts, Influence, PairConflict, PhaseRecord


def pair(cosine: float, conflicting: float, steps: int = 10) -> PairConflict:
    return PairConflict(steps=steps, cosine=cosine, conflicting=conflicting)


def influence(
    share: float, *, norm: float = 1.0, before: float = 0.5, after: float = 0.5, steps: int = 10
) -> Influence:
    return Influence(steps=steps, norm=norm, share=share, before=before, after=after)


def phase(
    pairs: Mapping[str, PairConflict],
    tasks: Mapping[str, Influence],
    *,
    name: str = "rr",
    steps: int = 10,
    conflicting: float = 0.5,
    removed: float = 0.1,
    layers: Mapping[str, Mapping[str, PairConflict]] | None = None,
    seconds: float = 60.0,
) -> PhaseRecord:
    return PhaseRecord(
        name=name,
        steps=steps,
        examples=8 * steps,
        seconds=seconds,
        conflicts=Conflicts(
            steps=steps, several=max((p.steps for p in pairs.values()), default=0),
            conflicting=conflicting, removed=removed, pairs=dict(pairs),
            tasks=dict(tasks),
        ),
        layers={part: dict(found) for part, found in (layers or {}).items()},
    )  # fmt: skip


def alone(task: str, steps: int, name: str = "finetune") -> PhaseRecord:
    """Steps of one task, whose gradient is the update."""
    only = influence(1.0, before=1.0, after=1.0, steps=steps)
    return phase({}, {task: only}, name=name, steps=steps, conflicting=0.0, removed=0.0)


def quarrel(tasks: Sequence[str], epochs: int, seed: int = 0) -> list[list[PhaseRecord]]:
    """A joint phase and one of a single task in each epoch, with something of everything."""
    rng = np.random.default_rng(seed)
    names = [f"{a}/{b}" for a, b in combinations(tasks, 2)]

    def pairs() -> dict[str, PairConflict]:
        return {n: pair(float(rng.uniform(-0.3, 0.3)), float(rng.uniform())) for n in names}

    found = []
    for _ in range(epochs):
        shares = rng.dirichlet(np.ones(len(tasks)))
        joint = phase(
            pairs(),
            {t: influence(float(s), norm=3 * s + 0.1) for t, s in zip(tasks, shares, strict=True)},
            layers={part: pairs() for part in ("embeddings", "layer 0", "layer 1", "pooler")},
        )
        found.append([joint, alone(tasks[0], 5)])
    return found
