"""How much memory a step takes, estimated and measured: python -m benchmarks.memory.

The estimate is that of ``python -m mtl_bert.plan``: of a model without weights. What is measured is
how far the resident memory of a fresh process grows, from before the model is made to its peak over
three whole steps after the first (forward and backward of every task, PCGrad, AdamW), once with
glibc's malloc as it is and once with one that gives freed memory back. All sequences have one
length, as the estimate assumes. `benchmarks/README.md` has what was measured.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.encoders import SIZES, losses, model
from benchmarks.measure import MEBI, machine, peak_of, resident
from benchmarks.rows import PAPER
from mtl_bert.data.batch import Batch
from mtl_bert.memory.estimate import HELD, Estimate, computing, estimate
from mtl_bert.sampling.usage import Work
from mtl_bert.surgery import GradientMatrix

OPTIMIZER = "fused AdamW"


def batch(examples: int, tokens: int) -> Batch:
    """Examples of one length, their words at random."""
    words = np.random.default_rng(0).integers(1000, 30_000, examples * tokens)
    labels = torch.zeros(examples)
    lengths = np.full(examples, tokens)
    return Batch.of(lengths, words, 0 * words, labels, np.arange(examples))


def adamw(parameters: object) -> torch.optim.AdamW:
    """The project's optimizer."""
    return torch.optim.AdamW(parameters, fused=True)  # type: ignore[arg-type]


def estimated(size: str, tasks: int, examples: int, tokens: int, precision: str) -> Estimate:
    """What the estimate says."""
    with torch.device("meta"):
        net = model(size, tasks)
    with FakeTensorMode(allow_non_fake_inputs=True):
        net.to_empty(device="cpu")
        return estimate(
            net,
            [Work((), dict.fromkeys(net.tasks, examples))],
            lambda task, count: batch(count, tokens),
            adamw,
            eval_batch_size=1,
            precision=precision,
        )


def measured_here(size: str, tasks: int, examples: int, tokens: int, precision: str) -> int:
    """Bytes that this process grows by."""
    before = resident()
    net = model(size, tasks)
    net.set_sparse_gradients(True)
    matrix, optimizer = GradientMatrix(list(net.parameters())), adamw(net.parameters())
    step = {task: batch(examples, tokens) for task in net.tasks}

    def take() -> None:
        with computing(torch.device("cpu"), precision):
            optimizer.zero_grad(set_to_none=True)
            matrix.start(list(step))
            for task, loss in losses(net, step):
                matrix.add(task, loss)
            matrix.combine(PAPER)
            optimizer.step()

    take()  # the optimizer's state is made here

    def several() -> None:
        for _ in range(3):
            take()

    return peak_of(several) - before


def measured(*case: object, giving_back: bool = False) -> int:
    """What ``measured_here`` says in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", "--here", *map(str, case)]
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536"} if giving_back else {}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | malloc
    )
    return int(ended.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--sizes", default="tiny,minilm,base", help=f"of {', '.join(SIZES)}")
    parser.add_argument(
        "--tasks", default="1,3,8", help="numbers of tasks; 1 is a single-task step"
    )
    parser.add_argument("--examples", type=int, default=8, help="of each task")
    parser.add_argument("--tokens", default="32,128", help="of each example")
    parser.add_argument("--precision", default="32-true", help="or bf16-mixed")
    parser.add_argument("--here", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        size, tasks, examples, tokens, precision = options.here
        print(measured_here(size, int(tasks), int(examples), int(tokens), precision))
        return
    console = Console()
    console.print(f"{machine()}; {OPTIMIZER}, {options.precision}, MiB", highlight=False)
    table = Table(
        "a step", "estimated", "giving back", "estimated ÷", f"× {HELD}", "as it is", f"× {HELD} ÷"
    )
    for size in options.sizes.split(","):
        for tasks in map(int, options.tasks.split(",")):
            for tokens in map(int, options.tokens.split(",")):
                case = (size, tasks, options.examples, tokens, options.precision)
                said = estimated(*case)
                back, found = (measured(*case, giving_back=back) for back in (True, False))
                table.add_row(
                    f"{size}, K={tasks}, {options.examples} × {tokens} tokens",
                    f"{said.step / MEBI:,.0f}",
                    f"{back / MEBI:,.0f}",
                    f"{said.step / back:.2f}",
                    f"{HELD * said.step / MEBI:,.0f}",
                    f"{found / MEBI:,.0f}",
                    f"{HELD * said.step / found:.2f}",
                )
    console.print(table)


if __name__ == "__main__":
    main()
