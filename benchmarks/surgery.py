"""What surgery costs: python -m benchmarks.surgery [--sizes minilm,base] [--tasks 3,8].

Prints, measured side by side in one run:

- the time and the extra memory of combining given gradients by PCGrad: ours, TorchJD's aggregator
  on a ready matrix, and the usual dense implementation (flatten, copy, K² products and updates over
  all parameters); and how far that is from the time that the bytes which must move take;
- the time and the memory of a whole step (K forward and backward passes, or one, surgery, AdamW)
  against the same step with gradients that are just added up, in K passes and in one, with that
  step against itself as control, and against TorchJD and the other ways to keep the rows that were
  tried (`benchmarks/rows.py`);
- how far our update is from the dense one's in float64 in the same projection order.

`benchmarks/README.md` has what was measured.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import Parameter
from torchjd.aggregation import PCGrad as TorchJDPCGrad

from benchmarks.encoders import SIZES, batches, losses, model
from benchmarks.measure import (
    MEBI,
    Work,
    as_it_is,
    bandwidth,
    interleaved,
    machine,
    peak_of,
    ratio,
    resident,
)
from benchmarks.rows import CASE, EXAMPLES, PAPER, WAYS, Case, whole_steps
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery import GradientMatrix, LocalRows
from mtl_bert.surgery.rows import GradientRows, Tasks

Prepare = Callable[[], Work]


# Combining gradients that are there: each prepares its rows and returns what is timed.


def encoder_parameters(net: MultiTaskModel) -> list[Parameter]:
    """What all tasks share."""
    return [p for name, p in net.named_parameters() if "heads" not in name]


def given(parameters: list[Parameter], k: int) -> list[Tensor]:
    """A task's random gradient, the same each time."""
    generator = torch.Generator().manual_seed(k)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]


class Kept(LocalRows):
    """Rows that outlive their combination: TorchJD's matrix and the dense rows do so, too."""

    kept: GradientRows | None = None

    def start(self, tasks: Tasks, by_layer: bool = False) -> None:
        """Begin, and let the old ones go."""
        super().start(tasks, by_layer)
        self.kept = None

    def take(self) -> GradientRows:
        """Give the rows and keep them."""
        self.kept = super().take()
        return self.kept


def ours(net: MultiTaskModel, K: int) -> Prepare:
    """Our combination, of gradients that autograd made."""
    parameters = encoder_parameters(net)
    matrix = GradientMatrix(parameters, Kept())

    def prepare() -> Work:
        matrix.start([str(k) for k in range(K)])
        for k in range(K):
            row = given(parameters, k)
            parts = [(p * g).sum() for p, g in zip(parameters, row, strict=True)]
            matrix.add(str(k), torch.stack(parts).sum())
        return lambda: forget(matrix.combine(PAPER, torch.Generator().manual_seed(0)))

    return prepare


def ours_in_a_step(net: MultiTaskModel, K: int) -> Prepare:
    """Our combination as training has it: the word embedding in the rows that batches touched."""
    net.set_sparse_gradients(True)
    matrix, step = GradientMatrix(encoder_parameters(net), Kept()), batches(K, EXAMPLES, 0)

    def prepare() -> Work:
        matrix.start(list(step))
        for task, loss in losses(net, step):
            matrix.add(task, loss)
        return lambda: forget(matrix.combine(PAPER, torch.Generator().manual_seed(0)))

    return prepare


def torchjd(net: MultiTaskModel, K: int) -> Prepare:
    """TorchJD's aggregator on a matrix that is ready; cutting the update up is not counted."""
    parameters = encoder_parameters(net)

    def prepare() -> Work:
        J = torch.stack([torch.cat([g.flatten() for g in given(parameters, k)]) for k in range(K)])
        return lambda: forget(TorchJDPCGrad()(J))

    return prepare


def dense(net: MultiTaskModel, K: int) -> Prepare:
    """What is usually done: copy, flatten, project over all parameters, average, cut up."""
    parameters = encoder_parameters(net)

    def prepare() -> Work:
        rows = [given(parameters, k) for k in range(K)]
        return lambda: combine(rows)

    def combine(rows: list[list[Tensor]]) -> None:
        generator = torch.Generator().manual_seed(0)
        flat = [torch.cat([g.clone().flatten() for g in row]) for row in rows]
        projected = [g.clone() for g in flat]
        for g in projected:
            for j in torch.randperm(K, generator=generator).tolist():
                conflict = g @ flat[j]
                if conflict < 0:
                    g -= conflict * flat[j] / flat[j].norm() ** 2
        merged = torch.stack(projected).mean(0)
        start = 0
        for p in parameters:
            p.grad = merged[start : start + p.numel()].view_as(p).clone()
            start += p.numel()

    return prepare


def forget(_: object) -> None:
    """Drop a result."""


COMBINERS: Mapping[str, Callable[[MultiTaskModel, int], Prepare]] = {
    "ours": ours,
    "ours, as in a step": ours_in_a_step,
    "TorchJD": torchjd,
    "dense": dense,
}


# Memory is measured in a process of its own.


def extra_memory(kind: str, name: str, size: str, K: int, case: Case = CASE) -> int:
    """Bytes beyond the ready gradients, or of a step beyond the imported libraries."""
    if kind == "combine":
        work = COMBINERS[name](model(size, K), K)()
        before = resident()
        return peak_of(work) - before
    before = resident()
    take = whole_steps([name], size, K, case)[name]
    take()  # the optimizer's moments are made here
    return peak_of(lambda: [take() for _ in range(3)]) - before


def measured_memory(kind: str, name: str, size: str, K: int, case: Case = CASE) -> int:
    """What ``extra_memory`` says in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.surgery", "--memory", kind, name, size, str(K)]
    command += [f"--examples={case.examples}", *["--packed"] * case.packed, *["--half"] * case.half]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


# Tables.


def combining(size: str, K: int, rounds: int, speed: float) -> Iterator[list[str]]:
    """Rows of the table of combinations."""
    net = model(size, K)
    seconds = interleaved({name: make(net, K) for name, make in COMBINERS.items()}, rounds)
    P = sum(p.numel() for p in encoder_parameters(net))
    limit = (2 * K + 1) * 4 * P / speed  # read K rows twice, write one
    for name, times in seconds.items():
        extra = measured_memory("combine", name, size, K)
        yield [
            f"{size}, K={K}, {name}",
            f"{median(times) * 1e3:,.0f} ms",
            f"{ratio(seconds, name, 'ours'):.1f}",
            f"{median(times) / limit:.1f}",
            f"{extra / (4 * P):.1f} P",
        ]


def stepping(
    size: str, K: int, rounds: int, case: Case, clock: Callable[[], float]
) -> Iterator[list[str]]:
    """Rows of the table of whole steps."""
    steps = whole_steps(WAYS, size, K, case)
    works = {way: partial(as_it_is, step) for way, step in steps.items()}
    seconds = interleaved(works, rounds, clock)
    works.clear()
    steps.clear()
    memory = {way: measured_memory("step", way, size, K, case) for way in WAYS}
    for way, times in seconds.items():
        yield [
            f"{size}, K={K}, {way}",
            f"{median(times) * 1e3:,.0f} ms",
            f"{ratio(seconds, way, 'no surgery'):.3f}",
            f"{ratio(seconds, way, 'no surgery, one pass'):.3f}",
            f"{memory[way] / MEBI:,.0f} MiB",
            f"{memory[way] / memory['no surgery']:.2f}",
        ]


def parity(size: str, K: int) -> float:
    """Relative distance of our update from the dense one's, both in float64, same orders."""
    net, updates = model(size, K).double(), []
    for make in (ours, dense):
        make(net, K)()()
        grads = [p.grad for p in encoder_parameters(net)]
        updates.append(torch.cat([g.flatten() for g in grads if g is not None]))
    a, b = updates
    return float((a - b).norm() / b.norm())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.surgery", description=__doc__)
    parser.add_argument("--sizes", default="minilm,base", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--tasks", default="3,8", help="numbers of tasks K")
    parser.add_argument("--rounds", type=int, default=9, help="of each contestant")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each task")
    parser.add_argument("--packed", action="store_true", help="without padding")
    parser.add_argument("--half", action="store_true", help="in bf16")
    parser.add_argument("--threads", type=int, help="torch's own choice if left out")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is not idle")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    case = Case(options.examples, options.packed, options.half)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.memory:
        kind, name, size, K = options.memory
        print(extra_memory(kind, name, size, int(K), case))
        return
    sizes, tasks = options.sizes.split(","), [int(K) for K in options.tasks.split(",")]
    speed = bandwidth()
    console = Console()
    console.print(f"{machine()}; memory moves {speed / 1e9:.1f} GB/s", highlight=False)
    combined = Table("combining K ready gradients", "time", "÷ ours", "÷ limit", "extra memory")
    stepped = Table("a whole step", "time", "÷ without", "÷ one pass", "memory", "÷ without")
    for size in sizes:
        for K in tasks:
            for row in combining(size, K, options.rounds, speed):
                combined.add_row(*row)
            for row in stepping(size, K, options.rounds, case, clock):
                stepped.add_row(*row)
    console.print(combined, stepped)
    console.print(f"float64, against the dense update: {parity(sizes[0], 3):.1e}", highlight=False)


if __name__ == "__main__":
    main()
