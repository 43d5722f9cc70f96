"""What averaging over processes costs: python -m benchmarks.processes [--sizes minilm].

Two processes of this machine, one thread and half of each batch each, gloo. In every round the
first process also takes the whole step alone, with two threads, while the other waits. Prints
medians: the step alone, the step together, and of the latter the two parts that are there only for
averaging: adding autograd's rows to the flat buffer, and the collective (which includes waiting
for the slower process).
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from benchmarks.encoders import SIZES, batches, losses, model
from benchmarks.measure import machine
from benchmarks.rows import EXAMPLES, PAPER
from mtl_bert.machine.processes import joined, spawn
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import AveragedRows, GradientMatrix
from mtl_bert.surgery.rows import GradientRows, Row

PROCESSES = 2


class Timed(AveragedRows):
    """Rows that know how long they took."""

    adding = 0.0
    summing = 0.0

    def add(self, task: str, row: Row, loss: torch.Tensor) -> None:
        """Add and count."""
        began = time.perf_counter()
        super().add(task, row, loss)
        self.adding += time.perf_counter() - began

    def take(self) -> GradientRows:
        """Sum and count."""
        began = time.perf_counter()
        taken = super().take()
        self.summing += time.perf_counter() - began
        return taken


def stepper(net: MultiTaskModel, K: int, examples: int, rows: Timed | None) -> Callable[[], float]:
    """A whole training step: what takes it and says how long it took."""
    parameters, step = list(net.parameters()), batches(K, examples, 0)
    matrix = GradientMatrix(parameters, rows)
    optimizer = torch.optim.AdamW(parameters, fused=True)

    def take() -> float:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        matrix.start(list(step))
        for task, loss in losses(net, step):
            matrix.add(task, loss, 1.0 if rows is None else 1 / PROCESSES)
        matrix.combine(PAPER, torch.Generator().manual_seed(0))
        optimizer.step()
        return time.perf_counter() - began

    return take


def measure(sizes: list[str], tasks: list[int], rounds: int) -> None:
    """In each process: take the steps; the first prints."""
    with joined(PROCESSES, "cpu") as rank:
        table = Table("two processes", "alone", "together", "÷ alone", "adding rows", "collective")
        about = machine()
        for size in sizes:
            for K in tasks:
                seconds = _rounds(size, K, rounds, rank)
                if rank:
                    continue
                alone, together, adding, summing = (median(x) for x in zip(*seconds, strict=True))
                table.add_row(
                    f"{size}, K={K}",
                    f"{alone * 1e3:,.0f} ms",
                    f"{together * 1e3:,.0f} ms",
                    f"{together / alone:.2f}",
                    f"{adding * 1e3:,.0f} ms",
                    f"{summing * 1e3:,.0f} ms",
                )
        if rank == 0:
            Console().print(about, table, highlight=False)


def _rounds(size: str, K: int, rounds: int, rank: int) -> list[tuple[float, float, float, float]]:
    net = model(size, K)
    net.set_sparse_gradients(True)
    words = net.encoder.get_input_embeddings().weight
    names = [name for name, _ in net.named_parameters()]
    reach = {task: [net.reaches(task, name) for name in names] for task in net.tasks}
    tables = [place for place, p in enumerate(net.parameters()) if p is words]
    rows = Timed(list(net.parameters()), reach.__getitem__, tables=tables)
    alone = stepper(net, K, EXAMPLES, None)
    together = stepper(net, K, EXAMPLES // PROCESSES, rows)
    seconds = []
    for _ in range(rounds + 1):
        torch.set_num_threads(PROCESSES)
        first = alone() if rank == 0 else 0.0
        torch.set_num_threads(1)
        dist.barrier()
        rows.adding = rows.summing = 0.0
        second = together()
        seconds.append((first, second, rows.adding, rows.summing))
    return seconds[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    parser.add_argument("--sizes", default="minilm,base", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--tasks", default="3", help="numbers of tasks K")
    parser.add_argument("--rounds", type=int, default=9, help="steps of each kind")
    options = parser.parse_args()
    tasks = [int(K) for K in options.tasks.split(",")]
    spawn(partial(measure, options.sizes.split(","), tasks, options.rounds), PROCESSES)


if __name__ == "__main__":
    main()
