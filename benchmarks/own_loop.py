"""A step in a loop of your own, against others: python -m benchmarks.own_loop [--size minilm].

One model, one optimizer (fused AdamW), the same batches, side by side in one run:

- the own loop, as the README shows it, and the same again as control;
- the same where embeddings give dense gradients, as they do if nobody says ``sparse=True``;
- the program's own step (`mtl_bert.training.step`);
- TorchJD: ``mtl_backward``, then ``jac_to_grad`` with PCGrad. The tasks read texts of their own, so
  the features that it is given are as many; a chunk of 1 spares it ``vmap``.

`benchmarks/README.md` has what was measured.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchjd.aggregation import PCGrad as TorchJDPCGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from benchmarks.encoders import SIZES, batches, losses, model
from benchmarks.measure import as_it_is, interleaved, machine, ratio
from benchmarks.rows import EXAMPLES, PAPER
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling import Phase, Step
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.surgery import Surgeon
from mtl_bert.training.step import take_step

Take = Callable[[], None]
OWN = "own loop"


class Contest:
    """The contestants, on one model.

    Args:
        size: of the encoder.
        K: tasks.
    """

    def __init__(self, size: str, K: int) -> None:
        self.net: MultiTaskModel = model(size, K)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-5, fused=True)
        self.surgeon = Surgeon(self.net, PAPER)
        self.batches = batches(K, EXAMPLES, 0)
        parts = {task: [Part(batch, 1.0)] for task, batch in self.batches.items()}
        rows = {task: np.arange(EXAMPLES) for task in parts}
        self.step = PlanStep(1, 0, Step(Phase("joint"), rows), parts)

    def own_loop(self, *, sparse: bool = True) -> None:
        """What the front page shows."""
        self.net.set_sparse_gradients(sparse)
        with self.surgeon.step(self.optimizer):
            for task, loss in losses(self.net, self.batches):
                self.surgeon.backward(task, loss)

    def program(self) -> None:
        """What training does."""
        self.net.set_sparse_gradients(True)
        take_step(self.net, self.surgeon, self.optimizer, self.step, seed=1)

    def torchjd(self, *, chunk: int | None) -> None:
        """The same step as TorchJD's documentation writes it."""
        self.net.set_sparse_gradients(False)
        self.optimizer.zero_grad()
        features: list[Tensor] = []
        hooks = [
            head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
            for head in self.net.heads.values()
        ]
        values = [loss for _, loss in losses(self.net, self.batches)]
        for hook in hooks:
            hook.remove()
        mtl_backward(values, features=features, parallel_chunk_size=chunk)
        shared = [p for p in self.net.parameters() if getattr(p, "jac", None) is not None]
        jac_to_grad(shared, TorchJDPCGrad())
        self.optimizer.step()


def measured(size: str, K: int, rounds: int, clock: Callable[[], float]) -> Table:
    """A row for each contestant: milliseconds a step, and its time by the own loop's."""
    contest = Contest(size, K)
    ways: dict[str, Take] = {
        OWN: contest.own_loop,
        "own loop, again": contest.own_loop,
        "own loop, dense embeddings": partial(contest.own_loop, sparse=False),
        "the program": contest.program,
        "TorchJD": partial(contest.torchjd, chunk=1),
        "TorchJD with vmap": partial(contest.torchjd, chunk=None),
    }
    works = {name: partial(as_it_is, take) for name, take in ways.items()}
    seconds = interleaved(works, rounds, clock)
    table = Table("", "ms a step", f"÷ {OWN}", title=f"{size}, K={K}")
    for name, times in seconds.items():
        table.add_row(name, f"{median(times) * 1e3:,.0f}", f"{ratio(seconds, name, OWN):.3f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_loop", description=__doc__)
    parser.add_argument("--size", default="minilm", choices=SIZES)
    parser.add_argument("--tasks", type=int, default=3, help="number of tasks K")
    parser.add_argument("--rounds", type=int, default=9, help="of each contestant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is not idle")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console()
    console.print(machine(), highlight=False)
    clock = time.process_time if options.cpu_time else time.perf_counter
    console.print(measured(options.size, options.tasks, options.rounds, clock))


if __name__ == "__main__":
    main()
