"""Several labels of one text in a step: each text through the encoder once, or for each task.

    python -m benchmarks.shared_texts [--tasks 2 3] [--tokens 28] [--blanks 0 1] [--rounds 7]

A whole step (forward and backward passes, PCGrad, fused AdamW) with an encoder of MiniLM's size,
without padding, where it packs; one thread, CPU time. Of each task's batch so many examples
(``--blanks``) are about texts that no other task of the step is about.

`benchmarks/README.md` has what was measured.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.encoders import model
from benchmarks.measure import as_it_is, interleaved, machine, ratio
from benchmarks.rows import EXAMPLES, PAPER
from mtl_bert.data.batch import Batch
from mtl_bert.sampling import Phase, Step
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.sampling.same_texts import Texts, sharing
from mtl_bert.surgery import Surgeon
from mtl_bert.training.step import take_step

SHARED, EACH, ONE = "each text once", "a pass for each task", "one pass for all"


def step_of(K: int, mean: int, blanks: int) -> tuple[PlanStep[Batch], list[Texts]]:
    """A joint step of K tasks with the same texts but for ``blanks`` of each but the first."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(3, (rng.random((EXAMPLES + K * blanks, 2)).sum(1) * mean).astype(int))
    tokens = [rng.integers(1000, 30_000, length) for length in lengths]
    parts, rows = {}, {}
    for k in range(K):
        own = EXAMPLES + k * blanks + np.arange(blanks) if k else np.arange(blanks)
        chosen = np.append(np.arange(blanks, EXAMPLES), own)
        flat = np.concatenate([tokens[text] for text in chosen])
        labels = torch.from_numpy(rng.integers(0, 2, EXAMPLES)).float()
        batch = Batch.of(lengths[chosen], flat, np.zeros_like(flat), labels, chosen)
        parts[f"task{k}"], rows[f"task{k}"] = [Part(batch, 1.0)], chosen
    numbers = dict.fromkeys(parts, np.arange(len(tokens)))
    return PlanStep(1, 0, Step(Phase("joint"), rows), parts), [numbers]


def measured(K: int, mean: int, blanks: int, rounds: int, steps: int) -> str:
    """The contestants' seconds of CPU for a step, as a line."""
    net = model("minilm", K)
    net.pack()
    net.set_sparse_gradients(True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, fused=True)
    surgeon = Surgeon(net, PAPER)
    step, groups = step_of(K, mean, blanks)

    def take(same_texts: Sequence[Texts], one_pass: bool) -> None:
        for _ in range(steps):
            take_step(
                net, surgeon, optimizer, step, seed=1, one_pass=one_pass, same_texts=same_texts
            )

    ways: dict[str, Callable[[], None]] = {
        SHARED: partial(take, groups, one_pass=False),
        EACH: partial(take, (), one_pass=False),
        ONE: partial(take, (), one_pass=True),
        "each, again": partial(take, (), one_pass=False),
    }
    seconds = interleaved(
        {name: partial(as_it_is, way) for name, way in ways.items()}, rounds, time.process_time
    )
    took = {name: 1000 * median(times) / steps for name, times in seconds.items()}
    return (
        f"| {K} tasks, {mean} tokens, {blanks} of {EXAMPLES} apart | {took[SHARED]:.0f} ms | "
        f"{ratio(seconds, SHARED, EACH):.2f} | {ratio(seconds, SHARED, ONE):.2f} | "
        f"{ratio(seconds, 'each, again', EACH):.2f} | {sharing(step.plan, groups)} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shared_texts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--tokens", type=int, nargs="+", default=[14, 28])
    parser.add_argument("--blanks", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1, help="of each contestant in a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(f"| | {SHARED} | ÷ {EACH} | ÷ {ONE} | control | shared |")
    for K in options.tasks:
        for mean in options.tokens:
            for blanks in options.blanks:
                line = measured(K, mean, blanks, options.rounds, options.steps)
                print(line, flush=True)


if __name__ == "__main__":
    main()
