"""What averaging over processes costs: python -m benchmarks.processes [--sizes minilm].

Two processes of this machine, one thread and half of each batch each, gloo. In every round the
first process also takes the whole step alone, with two threads, while the other waits. Prints
medians: the step alone; together, with all rows summed after the last backward pass; and together,
with sums that begin while others are computed, as training has it. "waits" is what of the step the
sum still takes after the last backward pass, the slower process included.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import product
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
from mtl_bert.surgery.rows import GradientRows
from mtl_bert.training.step import losses_of

PROCESSES = 2


class Timed(AveragedRows):
    """Rows that know how long the step has waited for their sum."""

    waiting = 0.0

    def take(self) -> GradientRows:
        """Sum and count."""
        began = time.perf_counter()
        taken = super().take()
        self.waiting = time.perf_counter() - began
        return taken


def stepper(
    net: MultiTaskModel, K: int, examples: int, *, one: bool, rows: Timed | None, told: bool = False
) -> Callable[[], float]:
    """A whole training step: what takes it and says how long it took.

    Args:
        net: the model.
        K: tasks.
        examples: of each task.
        one: take them in one pass.
        rows: of several processes.
        told: how many losses there will be, so that sums begin before the last.
    """
    parameters, step = list(net.parameters()), batches(K, examples, 0)
    matrix = GradientMatrix(parameters, rows)
    optimizer = torch.optim.AdamW(parameters, fused=True)
    shares = dict.fromkeys(step, 1.0 if rows is None else 1 / PROCESSES)

    def take() -> float:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        matrix.start(dict.fromkeys(step, 1) if told else list(step), by_layer=one)
        if one:
            with matrix.one_pass(net.trunk, *net.sizes(step)):
                matrix.add_together(losses_of(net, step), shares)
        else:
            for task, loss in losses(net, step):
                matrix.add(task, loss, shares[task])
        matrix.combine(PAPER, torch.Generator().manual_seed(0))
        optimizer.step()
        return time.perf_counter() - began

    return take


def measure(sizes: list[str], tasks: list[int], rounds: int) -> None:
    """In each process: take the steps; the first prints."""
    with joined(PROCESSES, "cpu") as rank:
        two = "at the end", "÷", "waits", "meanwhile", "÷", "waits"
        table = Table("two processes", "alone", *two)
        about = machine()
        for size, K, one in product(sizes, tasks, (False, True)):
            seconds = _rounds(size, K, rounds, rank, one=one)
            if rank:
                continue
            alone, *others = (median(times) for times in zip(*seconds, strict=True))
            cells = [f"{alone * 1e3:,.0f} ms"]
            for together, waiting in (others[:2], others[2:]):
                cells += [f"{together * 1e3:,.0f} ms", f"{together / alone:.2f}"]
                cells += [f"{waiting * 1e3:,.0f} ms"]
            table.add_row(f"{size}, K={K}, {'one pass' if one else 'a pass for each'}", *cells)
        if rank == 0:
            Console().print(about, table, highlight=False)


def _rounds(size: str, K: int, rounds: int, rank: int, *, one: bool) -> list[tuple[float, ...]]:
    net = model(size, K)
    net.set_sparse_gradients(True)
    words = net.encoder.get_input_embeddings().weight
    names = [name for name, _ in net.named_parameters()]
    reach = {task: [net.reaches(task, name) for name in names] for task in net.tasks}
    tables = [place for place, p in enumerate(net.parameters()) if p is words]
    rows = Timed(list(net.parameters()), reach.__getitem__, tables=tables)
    alone = stepper(net, K, EXAMPLES, one=one, rows=None)
    ways = [
        stepper(net, K, EXAMPLES // PROCESSES, one=one, rows=rows, told=told)
        for told in (False, True)
    ]
    seconds = []
    for number in range(rounds + 1):
        torch.set_num_threads(PROCESSES)
        taken = [alone() if rank == 0 else 0.0]
        torch.set_num_threads(1)
        found: list[tuple[float, float]] = []
        for way in ways[:: (-1) ** number]:
            dist.barrier()
            found.append((way(), rows.waiting))
        taken += [each for pair in found[:: (-1) ** number] for each in pair]
        seconds.append(tuple(taken))
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
