"""Algorithms 1 to 3 written out by hand, with lists and plain loops, as the independent reference.

They share nothing with the package but the convention by which a deck is shuffled: numpy's
default generator keyed by (seed, crc32 of a name, epoch, turn).
"""

import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

Steps = list[tuple[str, dict[str, list[int]]]]


def rng(seed: int, name: str, epoch: int, turn: int = 0) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(name.encode()), epoch, turn))


def endless(size: int, seed: int, name: str, epoch: int) -> Iterator[int]:
    """A task's rows, shuffled anew whenever they run out."""
    turn = 0
    while True:
        yield from rng(seed, name, epoch, turn).permutation(size).tolist()
        turn += 1


def take(cards: Iterator[int], count: int) -> list[int]:
    return [next(cards) for _ in range(count)]


def parts(total: int, size: int) -> list[int]:
    """Batch by batch until nothing is left."""
    sizes = []
    while total > 0:
        sizes.append(min(size, total))
        total -= size
    return sizes


def vanilla(sizes: dict[str, int], epoch: int, seed: int, batch: int, B: int) -> Steps:
    union = [(task, row) for task, size in sizes.items() for row in range(size)]
    cards = endless(len(union), seed, "union", epoch)
    steps: Steps = []
    for size in parts(B, batch):
        grouped: dict[str, list[int]] = {task: [] for task in sizes}
        for card in take(cards, size * len(sizes)):
            task, row = union[card]
            grouped[task].append(row)
        steps.append(("vanilla", {task: rows for task, rows in grouped.items() if rows}))
    return steps


def annealed(
    sizes: dict[str, int], epoch: int, epochs: int, seed: int, batch: int, B: int
) -> Steps:
    alpha = 1 - 0.8 * (epoch - 1) / (epochs - 1)
    weights = np.array([size**alpha for size in sizes.values()])
    cards = {task: endless(size, seed, task, epoch) for task, size in sizes.items()}
    choice = rng(seed, "annealed", epoch)
    steps: Steps = []
    for size in parts(B, batch):
        grouped: dict[str, list[int]] = {}
        tasks = choice.choice(list(sizes), size=len(sizes), p=weights / weights.sum())
        for task in sorted(tasks, key=list(sizes).index):
            grouped.setdefault(str(task), []).extend(take(cards[task], size))
        steps.append(("annealed", grouped))
    return steps


def round_robin(sizes: dict[str, int], epoch: int, seed: int, batch: int) -> Steps:
    cards = {task: endless(size, seed, task, epoch) for task, size in sizes.items()}
    return [
        ("rr", {task: take(cards[task], size) for task in sizes})
        for size in parts(min(sizes.values()), batch)
    ]


def arrp(sizes: dict[str, int], epoch: int, seed: int, batch: int, B: int) -> Steps:
    t = max(sizes, key=lambda task: sizes[task])
    steps = round_robin(sizes, epoch, seed, batch)
    used = {row for _, rows in steps for row in rows[t]}
    shuffled = rng(seed, t, epoch).permutation(sizes[t]).tolist()
    sample = [row for row in shuffled if row not in used][:B]
    while sample:
        steps.append(("finetune", {t: sample[:batch]}))
        sample = sample[batch:]
    return steps


def full(sizes: dict[str, int], epoch: int, seed: int, batch: int, phase: str = "full") -> Steps:
    steps: Steps = []
    for task, size in sizes.items():
        rows = rng(seed, task, epoch).permutation(size).tolist()
        while rows:
            steps.append((f"{phase}:{task}", {task: rows[:batch]}))
            rows = rows[batch:]
    return steps


def mixture(
    name: str, p: list[float], sizes: dict[str, int], epoch: int, seed: int, batch: int, B: int
) -> Steps:
    """Batch by batch: whose turn is it, and the next of its cards."""
    cards = {task: endless(size, seed, task, epoch) for task, size in sizes.items()}
    choice, steps = rng(seed, name, epoch), []
    for size in parts(B, batch):
        turns = Counter(str(t) for t in choice.choice(list(sizes), size=len(sizes), p=p))
        steps.append((name, {t: take(cards[t], size * turns[t]) for t in sizes if turns[t]}))
    return steps


def tiers(
    sizes: dict[str, int], tiers: list[list[str]], epoch: int, seed: int, batch: int, B: list[int]
) -> Steps:
    cards = {t: rng(seed, t, epoch).permutation(size).tolist() for t, size in sizes.items()}
    steps: Steps = []
    for place, tier in enumerate(tiers):
        tasks = [task for task in sizes if any(task in t for t in tiers[place:])]
        total = min(len(cards[task]) for task in tier)
        if place:
            total = min(total, B[place - 1])
        name = "rr" if place == 0 else "finetune" if len(tasks) == 1 else f"rr{place + 1}"
        for size in parts(total, batch):
            steps.append((name, {task: cards[task][:size] for task in tasks}))
            for task in tasks:
                del cards[task][:size]
    return steps


def two_stage(
    sizes: dict[str, int], epoch: int, first: int, seed: int, batch: int, B: int, T: float
) -> Steps:
    """The largest task alone, then a mixture by temperature."""
    if epoch <= first:
        large = max(sizes, key=lambda task: sizes[task])
        cards = endless(sizes[large], seed, "union", epoch)
        return [("first", {large: take(cards, size * len(sizes))}) for size in parts(B, batch)]
    weights = [size ** (1 / T) for size in sizes.values()]
    p = [weight / sum(weights) for weight in weights]
    return mixture("temperature", p, sizes, epoch - first, seed, batch, B)
