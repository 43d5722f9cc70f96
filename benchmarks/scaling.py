"""How time grows with B, with the number of tasks and with the size of the data.

    python -m benchmarks.scaling [--rounds 5]

- B: the program itself on the demo's text, fine-tuning phases of one, two and four times as many
  examples; what matters is whether a step costs the same in each.
- K: a joint step (K forward and backward passes, PCGrad, AdamW) with an encoder of MiniLM's size, 2
  to 16 tasks; what matters is the time by task.
- Data: planning an ARRP epoch that uses everything, and gathering a batch of it, for training sets
  of the paper's proportions, from a tenth to ten times its size; what matters is the time by step.

`benchmarks/README.md` has what was measured.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measure import Work, as_it_is, interleaved, machine
from benchmarks.rows import whole_steps
from benchmarks.throughput import Cut, ours, settings_of
from mtl_bert.data.batch import Tokenized
from mtl_bert.data.table import Encoded
from mtl_bert.sampling import ARRP, Epoch
from mtl_bert.training.build import assemble

PAPER = {"sts": 6_040, "sst": 8_544, "qqp": 283_010}
TOKENS = {"sts": 28, "sst": 25, "qqp": 30}  # of an example, on average


def by_budget(rounds: int) -> Grid:
    """Seconds of a fine-tuning phase."""
    overrides = ["data=demo", "data.scale=0.05", "batch_size=8", "sampler=arrp", "B=null"]
    whole = assemble(settings_of(overrides)).datamodule.plan(1)
    counts = (200, 400, 800)
    with tempfile.TemporaryDirectory() as place:
        works: dict[str, Work] = {
            str(n): ours(overrides, Cut(whole, 0, n), Path(place)) for n in counts
        }
        seconds = interleaved({n: partial(as_it_is, work) for n, work in works.items()}, rounds)
    grid = Grid("B", "s", "ms a step", title="a phase of one task, the demo's model")
    for n, times in seconds.items():
        grid.add_row(
            f"{8 * int(n):,}", f"{median(times):.2f}", f"{median(times) / int(n) * 1e3:.2f}"
        )
    return grid


def by_tasks(rounds: int) -> Grid:
    """Seconds of a joint step."""
    grid = Grid("K", "ms a step", "ms by task", title="a joint step, MiniLM's size")
    counts = (2, 4, 8, 16)
    works = {str(K): whole_steps(["surgery"], "minilm", K)["surgery"] for K in counts}
    seconds = interleaved({K: partial(as_it_is, work) for K, work in works.items()}, rounds)
    for K, times in seconds.items():
        grid.add_row(K, f"{median(times) * 1e3:,.0f}", f"{median(times) / int(K) * 1e3:,.0f}")
    return grid


def by_size(rounds: int) -> Grid:
    """Seconds of a plan, and of a batch."""
    grid = Grid("examples", "plan, s", "µs a step", "batch, µs", title="ARRP, B=null, batches of 8")
    for scale in (0.1, 1, 10):
        sizes = {task: round(scale * size) for task, size in PAPER.items()}
        encoded = {task: some_tokens(size, TOKENS[task]) for task, size in sizes.items()}
        sampler = ARRP(batch_size=8, B=None)
        plan = sampler(sizes, 1, 10, 1)
        some = np.random.default_rng(0).choice(len(plan.steps), 1000)
        works: dict[str, Work] = {
            "plan": partial(plan_again, sampler, sizes),
            "batch": partial(gather, plan, some.tolist(), encoded),
        }
        seconds = interleaved({n: partial(as_it_is, work) for n, work in works.items()}, rounds)
        planning, gathering = (median(seconds[name]) for name in works)
        grid.add_row(
            f"{sum(sizes.values()):,}",
            f"{planning:.2f}",
            f"{planning / len(plan.steps) * 1e6:.1f}",
            f"{gathering / len(some) * 1e6:.0f}",
        )
    return grid


def plan_again(sampler: ARRP, sizes: Mapping[str, int]) -> None:
    """An epoch that nobody needs."""
    sampler(sizes, 1, 10, 1)


def gather(plan: Epoch, numbers: Sequence[int], encoded: Mapping[str, Encoded]) -> None:
    """The tensors of some steps."""
    for number in numbers:
        for task, rows in plan.steps[number].rows.items():
            Tokenized(encoded[task], torch.float32)[rows]


def some_tokens(examples: int, mean: int) -> Encoded:
    """Tokens that nobody reads."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 2 * mean - 3, examples))])
    return Encoded(
        np.zeros(offsets[-1], np.uint16),
        np.zeros(offsets[-1], np.uint8),
        offsets,
        1,
        np.zeros(examples),
        np.zeros(examples, np.bool_),
        "nowhere",
    )


def tables(rounds: int) -> Iterator[Grid]:
    """One after another."""
    for measure in (by_size, by_budget, by_tasks):
        yield measure(rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each contestant")
    options = parser.parse_args()
    console = Console()
    console.print(machine(), highlight=False)
    for grid in tables(options.rounds):
        console.print(grid)


if __name__ == "__main__":
    main()
